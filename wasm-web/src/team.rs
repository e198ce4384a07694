//! The threads lent to the core: Web Workers on shared memory. A worker that is asleep, or was never started, is not waited for.

use picolm_machine::ForkJoin;
use std::sync::Arc;
use wasm_bindgen::prelude::wasm_bindgen;

/// A team of workers. Member 0 is the engine's.
#[wasm_bindgen]
pub struct Team(pub(crate) Arc<ForkJoin>);

#[wasm_bindgen]
impl Team {
    /// A team of `size` members. Each but the first is a worker that calls `team_member` with `address`.
    #[wasm_bindgen(constructor)]
    pub fn new(size: usize) -> Self {
        Team(Arc::new(ForkJoin::new(size)))
    }

    /// Where a member finds the team. Each call makes one more owner, who must call `team_member` once.
    pub fn address(&self) -> usize {
        Arc::into_raw(self.0.clone()).expose_provenance()
    }

    /// Lets the members go.
    pub fn stop(&self) {
        self.0.stop();
    }
}

/// What a member does all its life: returns when the team is stopped.
///
/// # Safety
/// `address` came from [`Team::address`] in the same memory, and is used once.
#[wasm_bindgen]
pub unsafe fn team_member(address: usize) {
    // SAFETY: the address is that of an Arc whose count was raised for us.
    unsafe { Arc::from_raw(std::ptr::with_exposed_provenance::<ForkJoin>(address)) }.work();
}
