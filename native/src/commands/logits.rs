//! `picolm logits`: the model's raw answer to token ids.

use crate::cli::{Machine, Output};
use crate::engine::{self, checked};
use anyhow::{Context, Result, ensure};
use picolm_core::session::{Feed, Session, Want};
use picolm_machine::ModelFile;
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
struct Logits {
    /// (positions asked for, vocabulary)
    logits: Vec<Vec<f32>>,
}

pub(super) fn run(path: &Path, ids: &[u32], at: &[usize], machine: &Machine, output: Output) -> Result<()> {
    let file = ModelFile::open(path)?;
    let model = engine::ready(&file, machine.pack, machine.threads())?;
    let last = ids.len() - 1;
    let wanted: Vec<usize> = if at.is_empty() { (0..=last).collect() } else { at.to_vec() };
    for position in &wanted {
        ensure!(*position <= last, "--at {position}: with {} ids the positions are 0 to {last}", ids.len());
    }
    let mut engine = engine::engine(&model, machine.backend.as_deref(), machine.threads(), machine.batch)?;
    let mut session = Session::new(&model, model.config.context, machine.kv.into())?;
    let mut rows = vec![Vec::new(); wanted.len()];
    let feed = Feed { session: &mut session, tokens: ids, want: Want::All };
    let keep = &mut |_, position, logits: &[f32]| {
        for (row, _) in rows.iter_mut().zip(&wanted).filter(|(_, wanted)| **wanted == position) {
            *row = logits.to_vec();
        }
    };
    checked(&file, engine.forward(&mut [feed], keep)).context("--ids")?;
    output.print(&Logits { logits: rows.clone() }, || lines(&wanted, &rows))
}

/// The five best tokens after each position.
fn lines(positions: &[usize], rows: &[Vec<f32>]) -> String {
    let line = |(position, row): (&usize, &Vec<f32>)| {
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
        let best: Vec<String> = order.iter().take(5).map(|&id| format!("{id} ({:.3})", row[id])).collect();
        format!("after position {position}: {}", best.join(", "))
    };
    positions.iter().zip(rows).map(line).collect::<Vec<_>>().join("\n")
}
