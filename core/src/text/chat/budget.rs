//! What one rendering may use.
//!
//! minijinja counts the instructions it runs, but one instruction can join strings of any size. So every operation whose
//! cost grows with its operands is charged for what it reads and what it makes.

use minijinja::value::{Rest, ValueKind, ValueOrKwargs};
use minijinja::{Error, ErrorKind, State, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Deepest nesting of lists and dictionaries a template may handle.
const MAX_DEPTH: usize = 100;
/// What a value costs besides its text: about its size in memory.
const VALUE_BYTES: u64 = 32;

/// Shared by everything that works for one rendering.
#[derive(Debug, Clone)]
pub(super) struct Budget(Arc<Left>);

#[derive(Debug)]
struct Left {
    /// bytes that operations may still read
    read: AtomicU64,
    /// bytes that operations may still make
    make: AtomicU64,
}

impl Budget {
    /// For an input of `bytes`.
    pub(super) fn new(bytes: u64) -> Self {
        let (read, make) = ((256 << 20) + 256 * bytes, (16 << 20) + 16 * bytes);
        Budget(Arc::new(Left { read: AtomicU64::new(read), make: AtomicU64::new(make) }))
    }

    /// Charges for a value read, with all that is in it.
    pub(super) fn read(&self, value: &Value) -> Result<(), Error> {
        walk(value, 0, &|bytes| spend(&self.0.read, bytes, "bytes read"))
    }

    /// Charges for a value made, with all that is in it.
    pub(super) fn made(&self, value: &Value) -> Result<(), Error> {
        walk(value, 0, &|bytes| self.make(bytes))
    }

    /// Charges for bytes about to be made.
    pub(super) fn make(&self, bytes: u64) -> Result<(), Error> {
        spend(&self.0.make, bytes, "bytes made")
    }

    /// Wraps a function, filter or method: it pays for its arguments and its result.
    pub(super) fn guard<F>(&self, inner: F) -> impl Fn(&mut State, Rest<ValueOrKwargs>) -> Result<Value, Error> + use<F>
    where
        F: Fn(&mut State, &[Value]) -> Result<Value, Error>,
    {
        let budget = self.clone();
        move |state, args| {
            let args = args.into_values();
            args.iter().try_for_each(|arg| budget.read(arg))?;
            let result = inner(state, &args)?;
            budget.made(&result)?;
            Ok(result)
        }
    }
}

/// An error that [`limit`] recognises.
pub(super) fn over(what: &'static str) -> Error {
    Error::new(ErrorKind::OutOfFuel, what)
}

/// Which limit an error is about, if any.
pub(super) fn limit(error: &Error) -> Option<&'static str> {
    if error.kind() != ErrorKind::OutOfFuel {
        return match error.detail() {
            Some("recursion limit exceeded") => Some("recursion"),
            Some("range has too many elements") => Some("the length of a range"),
            Some("repeated string is too large" | "repeated sequence is too large") => Some("bytes made"),
            _ => None,
        };
    }
    let known = ["bytes read", "bytes made", "nesting", "output"];
    Some(known.into_iter().find(|what| error.detail() == Some(*what)).unwrap_or("steps"))
}

fn spend(left: &AtomicU64, bytes: u64, what: &'static str) -> Result<(), Error> {
    let rest = left.load(Relaxed).checked_sub(bytes);
    left.store(rest.unwrap_or(0), Relaxed);
    rest.map(|_| ()).ok_or_else(|| over(what))
}

/// Pays for a value and all in it; stops as soon as the budget is spent, so that it takes bounded time itself.
fn walk(value: &Value, depth: usize, pay: &impl Fn(u64) -> Result<(), Error>) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(over("nesting"));
    }
    pay(VALUE_BYTES + value.as_str().map_or(0, str::len) as u64)?;
    if !matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::Iterable) {
        return Ok(());
    }
    for item in value.try_iter()? {
        walk(&item, depth + 1, pay)?;
        if value.kind() == ValueKind::Map {
            walk(&value.get_item(&item)?, depth + 1, pay)?;
        }
    }
    Ok(())
}
