//! The ablation as bars: the share of the speed of everything that a variant has.

use super::ablate::{Ablation, relative};
use std::fmt::Write;

const LABEL: usize = 190;
const BAR: usize = 360;
const ROW: usize = 26;
/// The share that fills the whole width.
const MOST: f64 = 1.25;

/// An SVG with two bars a variant: prefill above, decode below.
pub fn render(results: &[Ablation], title: &str) -> String {
    let settings = settings(results);
    let height = 40 + settings.len() * 26 + results.len() * ROW + 20;
    let mut svg = String::new();
    let mut add = |element: String| writeln!(svg, "{element}").expect("a string takes all");
    add(format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{height}" font-family="sans-serif" font-size="12">"#,
        w = LABEL + BAR + 80
    ));
    add(r##"<rect width="100%" height="100%" fill="#ffffff"/>"##.into());
    add(format!(r#"<text x="10" y="20" font-size="14">{}</text>"#, escape(title)));
    let mut y = 40;
    for setting in settings {
        add(format!(r#"<text x="10" y="{}" font-weight="bold">{}</text>"#, y + 14, escape(&setting)));
        y += 26;
        for result in results.iter().filter(|result| result.setting == setting) {
            let Some((prefill, decode)) = relative(results, result) else { continue };
            add(format!(
                r#"<text x="{}" y="{}" text-anchor="end">{}</text>"#,
                LABEL - 8,
                y + 14,
                escape(&result.variant)
            ));
            for (at, share, colour) in [(y + 2, prefill, "#4878a8"), (y + 12, decode, "#d08040")] {
                let width = (share / MOST).clamp(0.0, 1.0) * BAR as f64;
                add(format!(r#"<rect x="{LABEL}" y="{at}" width="{width:.1}" height="9" fill="{colour}"/>"#));
                add(format!(
                    r#"<text x="{:.1}" y="{}" font-size="9">{share:.2}</text>"#,
                    LABEL as f64 + width + 4.0,
                    at + 8
                ));
            }
            y += ROW;
        }
    }
    let one = LABEL as f64 + BAR as f64 / MOST;
    add(format!(r##"<line x1="{one:.1}" x2="{one:.1}" y1="40" y2="{y}" stroke="#888888" stroke-dasharray="3 3"/>"##));
    add(format!(
        r##"<text x="10" y="{}" font-size="10"><tspan fill="#4878a8">prefill</tspan>, <tspan fill="#d08040">decode</tspan>: speed, everything on is 1</text>"##,
        y + 14
    ));
    add("</svg>".into());
    svg
}

/// The settings in the order of their results.
fn settings(results: &[Ablation]) -> Vec<String> {
    let mut settings: Vec<String> = results.iter().map(|result| result.setting.clone()).collect();
    settings.dedup();
    settings
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::report::Figures;
    use super::*;

    #[test]
    fn bars_are_as_long_as_speeds() {
        let result = |variant: &str, speed: f64| Ablation {
            setting: "a < b".into(),
            variant: variant.into(),
            figures: Figures {
                vision_s: 1.0,
                prefill_tok_s: speed,
                prefill_text_tok_s: speed,
                decode_tok_s: 2.0 * speed,
                first_token_s: 1.0,
                peak_bytes: None,
                alone: [None; 4],
            },
        };
        let svg = render(&[result("all", 10.0), result("without tiling", 5.0)], "title");
        assert!(svg.contains("a &lt; b"));
        let whole = BAR as f64 / MOST;
        assert!(
            svg.contains(&format!(r#"width="{whole:.1}""#)) && svg.contains(&format!(r#"width="{:.1}""#, whole / 2.0))
        );
        assert_eq!(svg.matches("<rect").count(), 5);
    }
}
