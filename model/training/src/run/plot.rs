//! `loss.svg`: losses over steps.

use super::metrics::StepMetrics;
use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 40.0;
/// The most points that a line has: more than there are pixels make a file larger, and nothing clearer.
const POINTS: usize = 720;
/// Weight of the past in the smoothed line.
const SMOOTHING: f64 = 0.9;

/// A line of the plot.
struct Line {
    name: &'static str,
    colour: &'static str,
    width: f64,
    points: Vec<(f64, f64)>,
}

/// An SVG with the loss of each step, its moving average and the evaluations.
pub fn render(steps: &[StepMetrics], title: &str) -> String {
    let lines = lines(steps);
    let values = || lines.iter().flat_map(|line| &line.points);
    let last = values().map(|point| point.0).fold(1.0, f64::max);
    let (low, high) =
        values().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), point| (low.min(point.1), high.max(point.1)));
    let ticks = if low <= high { ticks(low, high) } else { vec![0.0, 1.0] };
    let (low, high) = (ticks[0], ticks[ticks.len() - 1]);
    let x = |step: f64| LEFT + (WIDTH - LEFT - RIGHT) * step / last;
    let y = |loss: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (loss - low) / (high - low);

    let mut svg = String::new();
    let mut add = |element: String| writeln!(svg, "{element}").expect("a string takes all");
    add(format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">"#
    ));
    add(r##"<rect width="100%" height="100%" fill="#ffffff"/>"##.into());
    add(format!(r#"<text x="{LEFT}" y="20" font-size="14">{}</text>"#, escape(title)));
    for &tick in &ticks {
        let at = y(tick);
        let end = WIDTH - RIGHT;
        add(format!(r##"<line x1="{LEFT}" x2="{end}" y1="{at:.1}" y2="{at:.1}" stroke="#dddddd"/>"##));
        add(format!(r#"<text x="{}" y="{:.1}" text-anchor="end">{}</text>"#, LEFT - 6.0, at + 4.0, label(tick)));
    }
    let below = HEIGHT - BOTTOM + 18.0;
    for (step, anchor) in [(0.0, "start"), (last, "end")] {
        add(format!(r#"<text x="{:.1}" y="{below}" text-anchor="{anchor}">{step}</text>"#, x(step)));
    }
    add(format!(r#"<text x="{:.1}" y="{below}" text-anchor="middle">step</text>"#, x(last / 2.0)));
    let mut legend = WIDTH - RIGHT;
    for line in lines.iter().filter(|line| !line.points.is_empty()) {
        let points: Vec<String> =
            line.points.iter().map(|&(step, loss)| format!("{:.1},{:.1}", x(step), y(loss))).collect();
        let (colour, width) = (line.colour, line.width);
        if let [point] = &points[..] {
            let (cx, cy) = point.split_once(',').expect("two numbers");
            add(format!(r#"<circle cx="{cx}" cy="{cy}" r="2" fill="{colour}"/>"#));
        }
        let points = points.join(" ");
        add(format!(r#"<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>"#));
        add(format!(r#"<text x="{legend:.1}" y="20" text-anchor="end" fill="{colour}">{}</text>"#, line.name));
        legend -= 12.0 + 7.0 * line.name.len() as f64;
    }
    add("</svg>".into());
    svg
}

fn lines(steps: &[StepMetrics]) -> [Line; 3] {
    let finite = |steps: Vec<(f64, f64)>| steps.into_iter().filter(|point| point.1.is_finite()).collect::<Vec<_>>();
    let losses = finite(steps.iter().map(|step| (step.step as f64, step.loss)).collect());
    let evaluations = steps.iter().filter_map(|step| Some((step.step as f64, step.eval_loss?))).collect();
    let mut mean = None;
    let smoothed = losses.iter().map(|&(step, loss)| {
        let value = mean.map_or(loss, |mean: f64| SMOOTHING * mean + (1.0 - SMOOTHING) * loss);
        mean = Some(value);
        (step, value)
    });
    let smoothed = thin_out(smoothed.collect());
    [
        Line { name: "loss", colour: "#a8c0d8", width: 1.0, points: thin_out(losses) },
        Line { name: "average", colour: "#4878a8", width: 2.0, points: smoothed },
        Line { name: "evaluation", colour: "#d08040", width: 2.0, points: thin_out(finite(evaluations)) },
    ]
}

/// At most [`POINTS`] of the points, evenly, the last among them.
fn thin_out(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let count = points.len();
    if count <= POINTS {
        return points;
    }
    (1..=POINTS).map(|index| points[index * count / POINTS - 1]).collect()
}

/// Round numbers around `low..=high`, two at least: multiples of 1, 2 or 5 times a power of ten.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let span = (high - low).max(high.abs() * 1e-3).max(1e-9);
    let power = 10f64.powf((span / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| span / step <= 5.0);
    let step = step.unwrap_or(10.0 * power);
    let (first, last) = ((low / step).floor(), (high / step).ceil());
    let count = (last - first).max(1.0) as usize;
    (0..=count).map(|index| (first + index as f64) * step).collect()
}

/// A tick without the digits that rounding leaves.
fn label(tick: f64) -> String {
    let text = format!("{tick:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64, loss: f64, eval_loss: Option<f64>) -> StepMetrics {
        StepMetrics {
            step,
            epoch: 0.0,
            loss,
            learning_rate: 0.0,
            gradient_norm: 0.0,
            tokens: 0,
            targets: 0,
            tokens_per_second: 0.0,
            memory_bytes: 0,
            eval_loss,
        }
    }

    #[test]
    fn lines_go_from_the_highest_loss_to_the_lowest() {
        let steps = [step(1, 4.0, None), step(2, 2.0, Some(3.0)), step(4, 0.0, Some(1.0))];
        let svg = render(&steps, "a < b");
        assert!(svg.contains("a &lt; b"));
        // Steps 0 to 4 lie on x 60..700, losses 0 to 4 on y 360..36.
        assert!(svg.contains(r#"points="220.0,36.0 380.0,198.0 700.0,360.0""#), "{svg}");
        assert!(svg.contains(r#"points="380.0,117.0 700.0,279.0""#), "{svg}");
    }

    #[test]
    fn any_losses_can_be_drawn() {
        for losses in
            [vec![], vec![1.0], vec![2.5, 2.5], vec![f64::NAN], vec![f64::INFINITY, 1e300, 0.0], vec![-1e-12, 0.0]]
        {
            let steps: Vec<_> = losses.iter().zip(1..).map(|(&loss, number)| step(number, loss, None)).collect();
            let svg = render(&steps, "");
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{losses:?}: {svg}");
        }
        let many: Vec<_> = (1..10_000).map(|number| step(number, number as f64, None)).collect();
        let svg = render(&many, "");
        assert!(svg.len() < 40_000 && svg.contains("9999"));
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(0.0, 4.0), [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(ticks(0.1, 9.3), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(
            ticks(5.1, 5.9).iter().map(|&tick| label(tick)).collect::<Vec<_>>(),
            ["5", "5.2", "5.4", "5.6", "5.8", "6"]
        );
    }
}
