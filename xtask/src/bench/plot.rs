//! The cases as bars, in SVG: a pair a case, prefill on the left and decode on the right.
//!
//! Small and large models differ a hundredfold in tokens per second, so a bar's length is its ratio to llama.cpp's (without it, to the
//! fastest); the figures stand beside. Colours are of middle lightness: a picture does not know the background it gets.

use std::fmt::Write;

use super::Case;
use super::engine::Run;
use super::report::{decode, median, prefill};

/// (red, green, blue) with a contrast of 3 or more to white and to black.
const TEXT: &str = "#797979";
const PICOLM: &str = "#2f81f7";
const LLAMACPP: &str = "#8e8e8e";

/// In pixels.
const LABEL: f64 = 250.0;
const PANEL: f64 = 320.0;
/// Room for figures right of the longest bar.
const FIGURE: f64 = 110.0;
const ROW: f64 = 38.0;
const BAR: f64 = 13.0;
const TOP: f64 = 60.0;

/// The plot as an SVG file.
pub(crate) fn svg(cases: &[Case]) -> String {
    let (width, height) = (LABEL + 2.0 * PANEL, TOP + ROW * cases.len() as f64 + 8.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"{TEXT}\">\n<title>Tokens per second</title>\n"
    );
    let alone = cases.iter().all(|case| case.llamacpp.is_none());
    let legend = [(0.0, PICOLM, "picolm"), (80.0, LLAMACPP, "llama.cpp")];
    for (x, colour, name) in legend.into_iter().take(if alone { 1 } else { 2 }) {
        bar(&mut svg, x, 12.0, BAR, colour);
        text(&mut svg, x + 18.0, 23.0, name);
    }
    for (i, case) in cases.iter().enumerate() {
        let threads = if case.threads == 1 { "1 thread" } else { &format!("{} threads", case.threads) };
        let y = TOP + ROW * i as f64;
        text(&mut svg, 0.0, y + 11.0, &case.model);
        text(&mut svg, 0.0, y + 25.0, threads);
    }
    panel(&mut svg, LABEL, "prefill, tokens/s", cases, prefill);
    panel(&mut svg, LABEL + PANEL, "decode, tokens/s", cases, decode);
    svg + "</svg>\n"
}

/// The bars of one figure, from `x` on.
fn panel(svg: &mut String, x: f64, title: &str, cases: &[Case], figure: fn(&Run) -> f64) {
    text(svg, x, TOP - 14.0, title);
    let rates: Vec<(f64, Option<f64>)> = cases
        .iter()
        .map(|case| (median(&case.picolm, figure), case.llamacpp.as_ref().map(|runs| median(runs, figure))))
        .collect();
    let fastest = rates.iter().map(|(ours, _)| *ours).fold(0.0, f64::max);
    let ratio = |rate: f64, theirs: Option<f64>| rate / theirs.unwrap_or(fastest);
    let longest = rates.iter().map(|&(ours, theirs)| ratio(ours, theirs)).fold(1.0, f64::max);
    for (i, &(ours, theirs)) in rates.iter().enumerate() {
        let y = TOP + ROW * i as f64;
        let length = |rate| (PANEL - FIGURE) * ratio(rate, theirs) / longest;
        bar(svg, x, y, length(ours), PICOLM);
        let times = theirs.map(|theirs| format!(" ({:.2}×)", ours / theirs)).unwrap_or_default();
        text(svg, x + length(ours) + 5.0, y + 11.0, &format!("{ours:.0}{times}"));
        if let Some(theirs) = theirs {
            bar(svg, x, y + BAR + 1.0, length(theirs), LLAMACPP);
            text(svg, x + length(theirs) + 5.0, y + BAR + 12.0, &format!("{theirs:.0}"));
        }
    }
}

fn bar(svg: &mut String, x: f64, y: f64, length: f64, colour: &str) {
    _ = writeln!(svg, "<rect x=\"{x}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>");
}

fn text(svg: &mut String, x: f64, y: f64, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(ours: f64, theirs: Option<f64>) -> Case {
        let runs = |rate| vec![Run { prefill: rate, decode: rate, own_memory: None }];
        let (model, llamacpp) = ("a<b".to_string(), theirs.map(runs));
        Case { model, threads: 1, bytes_per_token: 1, picolm: runs(ours), llamacpp, others: None }
    }

    /// Widths of the bars of that colour, without the legend's.
    fn widths(svg: &str, colour: &str) -> Vec<f64> {
        let bars = svg.lines().filter(|line| line.starts_with("<rect") && line.contains(colour)).skip(1);
        bars.map(|line| line.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap()).collect()
    }

    #[test]
    fn bars_are_as_long_as_their_ratios() {
        let svg = svg(&[case(200.0, Some(100.0)), case(5.0, Some(10.0))]);
        let full = PANEL - FIGURE;
        // Twice and half as fast as llama.cpp, in both panels.
        assert_eq!(widths(&svg, PICOLM), [full, full / 4.0, full, full / 4.0]);
        assert_eq!(widths(&svg, LLAMACPP), [full / 2.0; 4]);
        assert!(svg.contains(">a&lt;b<") && svg.contains(">200 (2.00×)<"), "{svg}");
    }

    #[test]
    fn alone_the_fastest_is_the_measure() {
        let svg = svg(&[case(10.0, None), case(5.0, None)]);
        let full = PANEL - FIGURE;
        assert_eq!(widths(&svg, PICOLM), [full, full / 2.0, full, full / 2.0]);
        assert!(widths(&svg, LLAMACPP).is_empty());
    }

    /// WCAG's contrast, of which large shapes need 3 and text 4.
    #[test]
    #[allow(clippy::disallowed_methods, reason = "the last bit of a colour does not matter")]
    fn colours_are_legible_on_white_and_on_black() {
        let luminance = |colour: &str| {
            let channel = |at: usize| f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
            let linear = |c: f64| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) };
            0.2126 * linear(channel(1)) + 0.7152 * linear(channel(3)) + 0.0722 * linear(channel(5))
        };
        for (colour, least) in [(TEXT, 4.0), (PICOLM, 3.0), (LLAMACPP, 3.0)] {
            let l = luminance(colour);
            assert!(1.05 / (l + 0.05) > least && (l + 0.05) / 0.05 > least, "{colour}: {l}");
        }
    }
}
