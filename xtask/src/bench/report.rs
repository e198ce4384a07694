//! What was measured, as a table, as JSON, and as a section of the README.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::engine::Run;
use super::{Case, Options, machine};

#[derive(Default)]
pub(crate) struct Report {
    /// The backend of picolm, and the version of llama-cpp-python if it was there.
    pub(crate) picolm: String,
    pub(crate) llamacpp: Option<String>,
    /// GB/s that memory can be read with, by number of threads.
    pub(crate) bandwidth: Option<Vec<(usize, f64)>>,
    pub(crate) cases: Vec<Case>,
}

impl Report {
    /// A table, and below it how it was made.
    pub(crate) fn markdown(&self, options: &Options) -> String {
        let mut lines = vec![
            "| model | threads | prefill: picolm | llama.cpp | ratio | decode: picolm | llama.cpp | ratio | own memory: picolm | llama.cpp | decode reads |"
                .to_string(),
            "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|".to_string(),
        ];
        lines.extend(self.cases.iter().map(|case| self.row(case)));
        lines.push(String::new());
        let llamacpp = self.llamacpp.as_ref().map_or("not installed".to_string(), |v| format!("llama-cpp-python {v}"));
        let others = self.cases.iter().filter_map(|case| case.others).reduce(f64::max);
        lines.push(format!(
            "Tokens per second: a prompt of {} tokens in one go, then {} tokens one by one; medians of {} runs in turn after a warm-up \
             (the runs of a cell differ by up to {:.0} %{}). picolm: {}; llama.cpp: {llamacpp}; {}. Own memory is what no file backs, without \
             Python's. A model that fits in the last cache can be read faster than memory. Made by `cargo xtask bench`.",
            options.prompt,
            options.r#gen,
            options.runs,
            100.0 * self.spread(),
            others.map_or(String::new(), |n| format!(", others kept up to {n:.1} processors busy")),
            self.picolm,
            machine::name(),
        ));
        lines.join("\n")
    }

    fn row(&self, case: &Case) -> String {
        let mut cells = vec![case.model.clone(), case.threads.to_string()];
        for figure in [prefill, decode] {
            let ours = median(&case.picolm, figure);
            let theirs = case.llamacpp.as_ref().map(|runs| median(runs, figure));
            cells.push(format!("{ours:.1}"));
            cells.push(theirs.map_or("-".to_string(), |theirs| format!("{theirs:.1}")));
            cells.push(theirs.map_or("-".to_string(), |theirs| format!("{:.2}", ours / theirs)));
        }
        cells.push(memory(&case.picolm));
        cells.push(case.llamacpp.as_deref().map_or("-".to_string(), memory));
        let read = median(&case.picolm, decode) * case.bytes_per_token as f64 / 1e9;
        let share = self.bandwidth_of(case.threads).map(|most| format!(", {:.0} % of {most:.1}", 100.0 * read / most));
        cells.push(format!("{read:.1} GB/s{}", share.unwrap_or_default()));
        format!("| {} |", cells.join(" | "))
    }

    fn bandwidth_of(&self, threads: usize) -> Option<f64> {
        self.bandwidth.as_ref()?.iter().find(|(n, _)| *n == threads).map(|(_, rate)| *rate)
    }

    /// The largest (most - least) / median of all cells: how much the machine was disturbed.
    fn spread(&self) -> f64 {
        let series = self.cases.iter().flat_map(|case| std::iter::once(&case.picolm).chain(&case.llamacpp));
        let spread = |runs: &Vec<Run>, figure: fn(&Run) -> f64| {
            let most = runs.iter().map(figure).fold(0.0, f64::max);
            let least = runs.iter().map(figure).fold(f64::INFINITY, f64::min);
            (most - least) / median(runs, figure)
        };
        series.flat_map(|runs| [spread(runs, prefill), spread(runs, decode)]).fold(0.0, f64::max)
    }

    /// Everything, run by run.
    pub(crate) fn json(&self, options: &Options) -> Value {
        let runs = |runs: &[Run]| runs.iter().map(Run::json).collect::<Vec<_>>();
        let case = |case: &Case| {
            json!({
                "model": case.model,
                "threads": case.threads,
                "bytes_per_token": case.bytes_per_token,
                "picolm": runs(&case.picolm),
                "llama.cpp": case.llamacpp.as_deref().map(runs),
                "processors_busy_otherwise": case.others,
            })
        };
        let bandwidth = |rates: &Vec<(usize, f64)>| {
            rates.iter().map(|(threads, rate)| json!({ "threads": threads, "gb_per_second": rate })).collect::<Vec<_>>()
        };
        json!({
            "machine": machine::name(),
            "picolm_backend": self.picolm,
            "llama_cpp_python": self.llamacpp,
            "prompt": options.prompt,
            "gen": options.r#gen,
            "bandwidth": self.bandwidth.as_ref().map(bandwidth),
            "cases": self.cases.iter().map(case).collect::<Vec<_>>(),
        })
    }
}

pub(super) fn prefill(run: &Run) -> f64 {
    run.prefill
}

pub(super) fn decode(run: &Run) -> f64 {
    run.decode
}

/// The middle of a figure, or the mean of the two in the middle.
pub(super) fn median(runs: &[Run], figure: impl Fn(&Run) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(figure).collect();
    values.sort_by(f64::total_cmp);
    let n = values.len();
    (values[(n - 1) / 2] + values[n / 2]) / 2.0
}

/// The most of all runs, in megabytes of 10^6.
fn memory(runs: &[Run]) -> String {
    let most = runs.iter().filter_map(|run| run.own_memory).max();
    most.map_or("-".to_string(), |bytes| format!("{:.1} MB", bytes as f64 / 1e6))
}

/// `text` with what stands between `<!-- name -->` and `<!-- /name -->` replaced.
pub(super) fn replace_section(text: &str, name: &str, section: &str) -> Result<String> {
    let (open, close) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let (before, rest) = text.split_once(&open).with_context(|| format!("there is no {open}"))?;
    let (_, after) = rest.split_once(&close).with_context(|| format!("{open} is not closed by {close}"))?;
    ensure!(!after.contains(&open), "{open} stands there twice");
    Ok(format!("{before}{open}\n{section}\n{close}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(figures: &[(f64, f64)]) -> Vec<Run> {
        figures.iter().map(|&(prefill, decode)| Run { prefill, decode, own_memory: Some(12_300_000) }).collect()
    }

    fn report(llamacpp: Option<Vec<Run>>, bandwidth: Option<f64>) -> (Report, Options) {
        let picolm = runs(&[(90.0, 20.0), (300.0, 10.0), (100.0, 30.0)]);
        let case = Case {
            model: "m".to_string(),
            threads: 2,
            bytes_per_token: 1_000_000_000,
            picolm,
            llamacpp,
            others: Some(0.5),
        };
        let bandwidth = bandwidth.map(|rate| vec![(1, 1.0), (2, rate)]);
        let report = Report { picolm: "avx2".to_string(), llamacpp: None, bandwidth, cases: vec![case] };
        (report, Options::parse(&[]).unwrap())
    }

    #[test]
    fn rows_have_medians_ratios_and_the_share_of_bandwidth() {
        let (both, options) = report(Some(runs(&[(200.0, 5.0), (200.0, 5.0)])), Some(40.0));
        let row = "| m | 2 | 100.0 | 200.0 | 0.50 | 20.0 | 5.0 | 4.00 | 12.3 MB | 12.3 MB | 20.0 GB/s, 50 % of 40.0 |";
        assert_eq!(both.markdown(&options).lines().nth(2), Some(row));
        // 90 to 300 about 100.
        assert!(
            both.markdown(&options).contains("by up to 210 %, others kept up to 0.5 processors"),
            "{}",
            both.markdown(&options)
        );
        let (alone, options) = report(None, None);
        let row = "| m | 2 | 100.0 | - | - | 20.0 | - | - | 12.3 MB | - | 20.0 GB/s |";
        assert_eq!(alone.markdown(&options).lines().nth(2), Some(row));
    }

    #[test]
    fn json_has_every_run() {
        let (report, options) = report(Some(runs(&[(200.0, 5.0)])), None);
        let json = report.json(&options);
        assert_eq!(
            json["cases"][0]["picolm"][1],
            json!({ "prefill": 300.0, "decode": 10.0, "own_memory": 12_300_000 })
        );
        assert_eq!(json["cases"][0]["llama.cpp"].as_array().map(Vec::len), Some(1));
        assert_eq!((&json["prompt"], &json["bandwidth"]), (&json!(256), &Value::Null));
    }

    #[test]
    fn a_section_is_replaced_and_the_rest_kept() {
        let text = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n";
        let once = replace_section(text, "x", "new").unwrap();
        assert_eq!(once, "a\n<!-- x -->\nnew\n<!-- /x -->\nb\n");
        assert_eq!(replace_section(&once, "x", "new").unwrap(), once);
        for (text, says) in [("a", "there is no"), ("<!-- x -->", "not closed"), (&once.repeat(2), "twice")] {
            assert!(replace_section(text, "x", "new").unwrap_err().to_string().contains(says));
        }
    }

    #[test]
    fn the_readme_has_its_section() {
        let readme = std::fs::read_to_string(crate::process::root().join("README.md")).unwrap();
        assert!(replace_section(&readme, "bench", "").is_ok());
    }
}
