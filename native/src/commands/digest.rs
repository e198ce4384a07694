//! `picolm digest`: one hash of what this machine computes ("The digest" in docs/numerics.md).

use crate::cli::Digest;
use crate::engine::{self, checked};
use anyhow::Result;
use picolm_core::session::{Feed, KvType, Session, Want, digest_tokens};
use picolm_machine::ModelFile;
use serde_json::json;
use sha2::{Digest as _, Sha256};

pub(super) fn run(args: &Digest) -> Result<()> {
    let file = ModelFile::open(&args.model)?;
    let model = engine::ready(&file, args.machine.pack, args.machine.threads())?;
    let (threads, kv) = (args.machine.threads(), KvType::from(args.machine.kv));
    let mut engine = engine::engine(&model, args.machine.backend.as_deref(), threads, args.machine.batch)?;
    let tokens: Vec<u32> = digest_tokens(model.config.vocab, model.config.context).collect();
    let mut session = Session::new(&model, model.config.context, kv)?;
    let mut hash = Sha256::new();
    let feed = Feed { session: &mut session, tokens: &tokens, want: Want::All };
    let read =
        engine.forward(&mut [feed], &mut |_, _, logits| logits.iter().for_each(|x| hash.update(x.to_le_bytes())));
    checked(&file, read)?;
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();

    let (backend, batch) = (engine.backend().name(), args.machine.batch);
    let kv = if kv == KvType::F16 { "f16" } else { "q8_0" };
    let json = json!({
        "digest": digest, "backend": backend, "threads": threads, "batch": batch, "kv": kv, "tokens": tokens.len()
    });
    args.output.print(&json, || {
        format!("{digest} {backend}, threads {threads}, batch {batch}, KV {kv}, {} tokens", tokens.len())
    })
}
