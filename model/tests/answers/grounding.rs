//! Boxes and points in answers, and drawn.

use image::{Rgb, RgbImage};
use qwen3_vl_burn::grounding::{
    BoxShape, Detection, DrawStyle, GroundingError, MAX_ANSWER_BYTES, PixelDetection, Point, Shape, draw, parse,
};
use serde_json::json;

fn bounds(x1: f64, y1: f64, x2: f64, y2: f64) -> Shape {
    Shape::Box(BoxShape { x1, y1, x2, y2 })
}

fn point(x: f64, y: f64) -> Shape {
    Shape::Point(Point { x, y })
}

/// Labels and shapes of an answer, which must be whole.
#[track_caller]
fn read(answer: &str) -> Vec<(Option<String>, Shape)> {
    let found = parse(answer).unwrap_or_else(|error| panic!("{answer}: {error}"));
    assert!(!found.truncated && found.problems.is_empty(), "{answer}: {:?}", found.problems);
    found
        .detections
        .into_iter()
        .map(|detection| (detection.label.as_deref().map(str::to_owned), detection.shape))
        .collect()
}

fn labelled(label: &str, shape: Shape) -> (Option<String>, Shape) {
    (Some(label.to_owned()), shape)
}

#[test]
fn reads_every_form() {
    let cat = labelled("cat", bounds(1.0, 2.0, 3.0, 4.0));
    let dog = labelled("dog", bounds(5.0, 6.5, 7.0, 1000.0));
    let (first, second) =
        (r#"{"bbox_2d": [1, 2, 3, 4], "label": "cat"}"#, r#"{"label":"dog","bbox_2d":[5,6.5,7,1e3]}"#);
    let both = [cat.clone(), dog.clone()];
    for answer in [first, &format!("[{first}]")] {
        assert_eq!(read(answer), std::slice::from_ref(&cat), "{answer}");
    }
    for answer in [
        format!("[\n\t{first},\n\t{second}\n]"),
        format!("```json\n[{first}, {second}]\n```"),
        format!("```\n{first}\n{second}\n```"),
        format!("I see [two] things {{here}}: ```json\n[{first}]\n``` and\n```json\n[{second}]\n```, that's all [1]."),
        format!("[{first}, {second},]"),
        format!("{{\"objects\": [{first}, {{\"inner\": [{second}]}}], \"count\": 2}}"),
        format!("Cat at {first}. Dog at {second}."),
        format!("[[{first}], [{second}]]"),
    ] {
        assert_eq!(read(&answer), both, "{answer}");
    }
    assert_eq!(read(r#"[{"point_2d": [10, 20], "label": "ball"}]"#), [labelled("ball", point(10.0, 20.0))]);
    assert_eq!(
        read(r#"{"bbox_2d": [[1, 2, 3, 4], [5, 6, 7, 8]], "point_2d": [[9, 10]]}"#),
        [(None, bounds(1.0, 2.0, 3.0, 4.0)), (None, bounds(5.0, 6.0, 7.0, 8.0)), (None, point(9.0, 10.0))]
    );
    assert_eq!(read(r#"{"bbox_2d": [1, 2, 3, 4], "label": null}"#), [(None, cat.1)]);
    assert_eq!(read(r#"{"bbox_2d": [1, 2, 3, 4], "label": 7}"#), [labelled("7", cat.1)]);
    // A label may hold anything.
    assert_eq!(
        read(r#"{"label": "[{\"bbox_2d\": \n}]", "bbox_2d": [1, 2, 3, 4]}"#),
        [labelled("[{\"bbox_2d\": \n}]", cat.1)]
    );
}

#[test]
fn keeps_what_else_is_said() {
    let found = parse(r#"{"point_2d": [1, 2], "label": "p", "role": "referee", "shirt": {"colour": "red"}}"#).unwrap();
    let Detection { extra, .. } = &found.detections[0];
    assert_eq!(serde_json::Value::Object((**extra).clone()), json!({"role": "referee", "shirt": {"colour": "red"}}));
}

#[test]
fn keeps_the_whole_objects_of_a_truncated_answer() {
    let whole = r#"```json
[{"bbox_2d": [1, 2, 3, 4], "label": "cat"}, {"point_2d": [5, 6], "label": "dog"}]"#;
    let end_of_first = whole.find("},").unwrap() + 1;
    let end_of_second = whole.len() - 1;
    for cut in 0..whole.len() {
        let expected = usize::from(cut >= end_of_first) + usize::from(cut >= end_of_second);
        match parse(&whole[..cut]) {
            Ok(found) => {
                assert_eq!(found.detections.len(), expected, "{cut}");
                assert!(found.truncated, "{cut}");
            }
            Err(GroundingError::NotFound) => assert!(!whole[..cut].contains("bbox"), "{cut}"),
            Err(GroundingError::Truncated) => assert!(whole[..cut].contains("bbox") && expected == 0, "{cut}"),
            Err(error) => panic!("{cut}: {error}"),
        }
    }
    assert_eq!(parse(whole).unwrap().detections.len(), 2);
    assert!(parse(r#"{"objects": [{"bbox_2d": [1, 2, 3, 4]}, {"bbox_2d": [1,"#).unwrap().truncated);
}

#[test]
fn refuses_answers_without_detections() {
    for answer in
        ["", "There is no cat.", "[]", "{}", "[1, 2, 3, 4]", "[[1, 2, 3, 4]]", r#"{"point": "made"}"#, "[", "{{{{"]
    {
        assert_eq!(parse(answer).unwrap_err(), GroundingError::NotFound, "{answer}");
    }
    let long = " ".repeat(MAX_ANSWER_BYTES + 1);
    assert!(matches!(parse(&long), Err(GroundingError::TooLong { found: 262_145, .. })));
}

/// What models write in place of JSON. Each is one box of a cat, or a point.
#[test]
fn reads_what_is_nearly_json() {
    let cat = [labelled("cat", bounds(1.0, 2.0, 3.0, 4.0))];
    for answer in [
        r#"[{'bbox_2d': [1, 2, 3, 4], 'label': 'cat'}]"#,
        r#"[{'bbox_2d': (1, 2, 3, 4), 'label': "cat", 'seen': True, 'by': None}]"#,
        r#"[{"bbox_2d": [1, 2, 3, 4,], "label": "cat",},]"#,
        r#"[{"bbox_2d": ["1", "2", " 3", "4.0"], "label": "cat"}]"#,
        r#"[{"bbox": [1, 2, 3, 4], "label": "cat"}]"#,
        r#"[{"bbox": ['1', '2', '3', '4',], 'label': "cat",}]"#,
        r#"{bbox_2d: [1, 2, 3, 4], label: cat}"#,
        "```json\n[\n {'bbox_2d': [1,\n2, 3, 4],\n  'label': 'cat',\n },\n]\n```",
    ] {
        assert_eq!(read(answer), cat, "{answer}");
    }
    for (answer, label) in [
        ("[{\"bbox_2d\": [1, 2, 3, 4], \"label\": \"a red\ncat\t\"}]", "a red\ncat\t"),
        (r#"[{'bbox_2d': [1, 2, 3, 4], 'label': 'the cat's ear'}]"#, "the cat's ear"),
        (r#"[{"bbox_2d": [1, 2, 3, 4], "label": "the "red" cat"}]"#, "the \"red\" cat"),
        (r#"[{'bbox_2d': [1, 2, 3, 4], 'label': 'caf\u00e9 \'x\''}]"#, "café 'x'"),
    ] {
        assert_eq!(read(answer), [labelled(label, bounds(1.0, 2.0, 3.0, 4.0))], "{answer}");
    }
    assert_eq!(read(r#"[{"point": [5, 6], "label": "ball"}]"#), [labelled("ball", point(5.0, 6.0))]);
    // The key that was taught goes before the other, which is then anything else.
    let both = parse(r#"{"bbox": "left", "bbox_2d": [1, 2, 3, 4], "point": "here"}"#).unwrap();
    assert_eq!(both.detections.len(), 1);
    assert_eq!(
        serde_json::Value::Object((*both.detections[0].extra).clone()),
        json!({"bbox": "left", "point": "here"})
    );
}

/// A bad one among good ones: these are kept, and it is told what is wrong with it.
#[test]
fn one_bad_detection_keeps_no_other_back() {
    let (first, last) = (r#"{"bbox_2d": [1, 2, 3, 4], "label": "a"}"#, r#"{"bbox_2d": [5, 6, 7, 8], "label": "c"}"#);
    let good = [labelled("a", bounds(1.0, 2.0, 3.0, 4.0)), labelled("c", bounds(5.0, 6.0, 7.0, 8.0))];
    let report = |bad: &str| {
        let found = parse(&format!("[{first}, {bad}, {last}]")).unwrap_or_else(|error| panic!("{bad}: {error}"));
        let kept: Vec<_> = found
            .detections
            .into_iter()
            .map(|detection| (detection.label.as_deref().map(str::to_owned), detection.shape))
            .collect();
        assert_eq!(kept, good, "{bad}");
        assert_eq!(found.problems.len(), 1, "{bad}: {:?}", found.problems);
        found.problems[0].clone()
    };
    for (bad, expected, found_numbers) in [
        (r#"{"bbox_2d": [1, 2, 3]}"#, 4, 3),
        (r#"{"bbox_2d": [1, 2, 3, 4, 5]}"#, 4, 5),
        (r#"{"bbox_2d": []}"#, 4, 0),
        (r#"{"point_2d": [1, 2, 3]}"#, 2, 3),
        (r#"{'bbox': [1, 2]}"#, 4, 2),
    ] {
        let problem = report(bad);
        assert!(
            matches!(problem, GroundingError::Count { index: 1, expected: e, found: f, .. } if (e, f) == (expected, found_numbers)),
            "{bad}: {problem}"
        );
    }
    for (bad, shown) in [
        (r#"{"bbox_2d": [1, "two", 3, 4]}"#, "\"two\""),
        (r#"{"bbox_2d": [1, null, 3, 4]}"#, "null"),
        (r#"{"point_2d": [true, 1]}"#, "true"),
        (r#"{"point_2d": [[1, [2]]]}"#, "[2]"),
        (r#"{"bbox_2d": [NaN, 2, 3, 4]}"#, "\"NaN\""),
        (r#"{"bbox_2d": [1, Infinity, 3, 4]}"#, "\"Infinity\""),
        (r#"{"bbox_2d": ["inf", 2, 3, 4]}"#, "\"inf\""),
        (r#"{"bbox_2d": [1e999, 2, 3, 4]}"#, "\"1e999\""),
        (r#"{"bbox_2d": [0x1, 2, 3, 4]}"#, "\"0x1\""),
    ] {
        let problem = report(bad);
        assert!(
            matches!(&problem, GroundingError::NotANumber { index: 1, found, .. } if found == shown),
            "{bad}: {problem}"
        );
    }
    for bad in [r#"{"bbox_2d": "here"}"#, r#"{"bbox_2d": null}"#, r#"{"point_2d": {"x": 1, "y": 2}}"#] {
        assert!(matches!(report(bad), GroundingError::NotAList { index: 1, .. }), "{bad}");
    }
    for bad in [
        r#"{"bbox_2d": [1 2, 3, 4]}"#,
        r#"{"bbox_2d": [1, 2, 3, 4] "label": "x"}"#,
        r#"{"bbox_2d" [1, 2, 3, 4]}"#,
        r#"{"bbox_2d": [1, , 3, 4]}"#,
    ] {
        let GroundingError::Malformed { offset, .. } = report(bad) else { panic!("{bad}") };
        assert_eq!(offset, first.len() + 3, "{bad}");
    }
    // Among the boxes of one object.
    let found = parse(r#"{"bbox_2d": [[1, 2], [1, 2, 3, 4]]}"#).unwrap();
    assert_eq!((found.detections.len(), found.problems.len()), (1, 1));
    // Alone, it is still told.
    let found = parse(r#"[{"bbox_2d": [1, 2, 3], "label": "b"}]"#).unwrap();
    assert_eq!((found.detections.len(), found.problems.len()), (0, 1));
    let many = r#"{"bbox_2d": [1]}"#.repeat(5000);
    assert_eq!(parse(&many).unwrap().problems.len(), 100);
}

/// Texts of brackets take no time to speak of, nor do texts of quotes, however they end.
#[test]
fn brackets_are_no_trap() {
    let brackets =
        ["[", "{", "[{", "{\"a\":[", "[1,", "{\"a\":{\"bbox_2d\":", "[]", "[[],", "[("].map(|unit| (unit, ""));
    let quotes = ["[\"", "['", "{'a':'", "[\\\""]
        .into_iter()
        .flat_map(|unit| ["", "\"]", "'}", "\"} x", "x {"].map(|end| (unit, end)));
    for (unit, end) in brackets.into_iter().chain(quotes) {
        let text = unit.repeat(MAX_ANSWER_BYTES / 4 / unit.len()) + end;
        let start = std::time::Instant::now();
        assert!(!matches!(parse(&text), Ok(found) if !found.detections.is_empty()));
        assert!(start.elapsed().as_secs() < 10, "{unit}, {end}: {:?}", start.elapsed());
    }
}

#[test]
fn coordinates_become_pixels() {
    let pixels = |shape| Detection { label: None, shape, extra: Default::default() }.to_pixels(640, 480).shape;
    assert_eq!(pixels(bounds(0.0, 0.0, 1000.0, 1000.0)), bounds(0.0, 0.0, 640.0, 480.0));
    assert_eq!(pixels(bounds(250.0, 500.0, 500.0, 750.0)), bounds(160.0, 240.0, 320.0, 360.0));
    // Corners the wrong way round, and beyond the picture.
    assert_eq!(pixels(bounds(500.0, 750.0, 250.0, 500.0)), bounds(160.0, 240.0, 320.0, 360.0));
    assert_eq!(pixels(bounds(-50.0, 500.0, 1100.0, 1e300)), bounds(0.0, 240.0, 640.0, 480.0));
    assert_eq!(pixels(point(125.0, 1.0)), point(80.0, 0.48));
    assert_eq!(pixels(point(-1e308, 2000.0)), point(0.0, 480.0));
    let nothing = Detection { label: None, shape: point(500.0, 500.0), extra: Default::default() };
    assert_eq!(nothing.to_pixels(0, 0).shape, point(0.0, 0.0));
}

const GREY: [u8; 3] = [100, 100, 100];
const RED: [u8; 3] = [255, 0, 0];
const NAVY: [u8; 3] = [0, 0, 128];

fn style(thickness: u32) -> DrawStyle {
    DrawStyle { thickness: Some(thickness), text_scale: Some(1), labels: true, colours: vec![RED, NAVY] }
}

fn drawn(width: u32, height: u32, detections: &[(Option<&str>, Shape)], style: &DrawStyle) -> RgbImage {
    let mut picture = RgbImage::from_pixel(width, height, Rgb(GREY));
    let detections: Vec<PixelDetection> =
        detections.iter().map(|&(label, shape)| PixelDetection { label: label.map(Into::into), shape }).collect();
    draw(&mut picture, &detections, style);
    picture
}

#[test]
fn a_box_is_a_frame() {
    let picture = drawn(40, 30, &[(None, bounds(10.0, 5.0, 30.0, 25.0))], &style(2));
    for (x, y, pixel) in picture.enumerate_pixels() {
        let inside = (10..30).contains(&x) && (5..25).contains(&y);
        let hollow = (12..28).contains(&x) && (7..23).contains(&y);
        assert_eq!(pixel.0, if inside && !hollow { RED } else { GREY }, "{x}, {y}");
    }
}

#[test]
fn a_box_touches_every_pixel_it_covers() {
    // From 10.4 to 12.2: pixels 10, 11 and 12; thicker than itself, it is full.
    let picture = drawn(20, 20, &[(None, bounds(10.4, 3.0, 12.2, 4.0))], &style(5));
    let red: Vec<(u32, u32)> =
        picture.enumerate_pixels().filter(|(_, _, pixel)| pixel.0 == RED).map(|(x, y, _)| (x, y)).collect();
    assert_eq!(red, [(10, 3), (11, 3), (12, 3)]);
    // A box without area is a pixel, at the far corner too.
    for corner in [0.0, 20.0] {
        let picture = drawn(20, 20, &[(None, bounds(corner, corner, corner, corner))], &style(1));
        let at = (corner as u32).min(19);
        assert_eq!(picture.get_pixel(at, at).0, RED);
        assert_eq!(picture.pixels().filter(|pixel| pixel.0 == RED).count(), 1);
    }
}

#[test]
fn a_point_is_a_disc_with_a_rim() {
    let picture = drawn(40, 40, &[(None, point(20.5, 20.5))], &style(1));
    for (x, y, pixel) in picture.enumerate_pixels() {
        let square = x.abs_diff(20).pow(2) + y.abs_diff(20).pow(2);
        // Radius 3, and a rim of 1 in white, since red is dark.
        let expected = match square {
            0..=9 => RED,
            10..=16 => [255; 3],
            _ => GREY,
        };
        assert_eq!(pixel.0, expected, "{x}, {y}");
    }
    let picture = drawn(10, 10, &[(None, point(10.0, 10.0))], &style(1));
    assert_eq!(picture.get_pixel(9, 9).0, RED);
}

/// Where a colour is: left, top, right, bottom.
fn extent(picture: &RgbImage, colours: &[[u8; 3]]) -> Option<[u32; 4]> {
    picture.enumerate_pixels().filter(|(_, _, pixel)| colours.contains(&pixel.0)).fold(None, |extent, (x, y, _)| {
        let [left, top, right, bottom] = extent.unwrap_or([x, y, x, y]);
        Some([left.min(x), top.min(y), right.max(x), bottom.max(y)])
    })
}

#[test]
fn a_label_is_legible() {
    let picture = drawn(60, 40, &[(Some("HI"), bounds(10.0, 20.0, 50.0, 35.0))], &style(1));
    // Two letters of 8 x 8 and a margin of 1, above the box.
    let rows: Vec<String> = (10..20)
        .map(|y| {
            let row = (10..28).map(|x| match picture.get_pixel(x, y).0 {
                [255, 255, 255] => '#',
                colour if colour == RED => '.',
                other => panic!("{other:?} at {x}, {y}"),
            });
            row.collect()
        })
        .collect();
    assert_eq!(
        rows,
        [
            "..................",
            ".##..##...####....",
            ".##..##....##.....",
            ".##..##....##.....",
            ".######....##.....",
            ".##..##....##.....",
            ".##..##....##.....",
            ".##..##...####....",
            "..................",
            "..................",
        ]
    );
    assert_eq!(picture.get_pixel(28, 19).0, GREY);
    // Twice as large.
    let large = DrawStyle { text_scale: Some(2), ..style(1) };
    let picture = drawn(100, 60, &[(Some("HI"), bounds(10.0, 30.0, 90.0, 55.0))], &large);
    for (y, row) in rows.iter().enumerate() {
        for (x, dot) in row.chars().enumerate() {
            for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                let pixel = picture.get_pixel(10 + 2 * x as u32 + dx, 10 + 2 * y as u32 + dy).0;
                assert_eq!(pixel, if dot == '#' { [255; 3] } else { RED });
            }
        }
    }
}

#[test]
fn labels_stay_inside_the_picture() {
    let ink = [255; 3];
    // At the top, at the right, wider than the picture, and on a picture smaller than a letter.
    let picture = drawn(60, 40, &[(Some("cat"), bounds(0.0, 2.0, 20.0, 30.0))], &style(1));
    assert_eq!(extent(&picture, &[RED, ink]).unwrap()[..2], [0, 2]);
    let picture = drawn(60, 40, &[(Some("cat"), bounds(50.0, 30.0, 60.0, 40.0))], &style(1));
    let label = picture.view_rows(20, 30);
    assert_eq!(label, [60 - 26, 20, 59, 29]);
    let picture = drawn(60, 40, &[(Some("a very long label indeed"), bounds(5.0, 30.0, 60.0, 40.0))], &style(1));
    assert_eq!(picture.view_rows(20, 30), [2, 20, 59, 29]);
    for (width, height) in [(1, 1), (7, 30), (30, 7), (10, 10), (9, 11)] {
        drawn(width, height, &[(Some("cat"), bounds(0.0, 0.0, 5.0, 5.0)), (Some("漢"), point(3.0, 3.0))], &style(1));
        drawn(
            width,
            height,
            &[(Some("cat"), bounds(0.0, 0.0, 5.0, 5.0))],
            &DrawStyle { text_scale: Some(u32::MAX), ..style(u32::MAX) },
        );
    }
    // A label too large for the picture is written smaller.
    let large = DrawStyle { text_scale: Some(50), ..style(1) };
    let picture = drawn(100, 40, &[(Some("cat"), bounds(0.0, 39.0, 100.0, 40.0))], &large);
    assert!(picture.pixels().any(|pixel| pixel.0 == ink));
    drawn(0, 0, &[(Some("cat"), bounds(0.0, 0.0, 5.0, 5.0))], &style(1));
}

trait ViewRows {
    /// Where there is anything but the background, in rows from `top` to `bottom`.
    fn view_rows(&self, top: u32, bottom: u32) -> [u32; 4];
}

impl ViewRows for RgbImage {
    fn view_rows(&self, top: u32, bottom: u32) -> [u32; 4] {
        let part = image::imageops::crop_imm(self, 0, top, self.width(), bottom - top).to_image();
        let [left, upper, right, lower] = extent(&part, &[RED, [255; 3]]).unwrap();
        [left, upper + top, right, lower + top]
    }
}

#[test]
fn colours_follow_labels() {
    let shape = |left: f64| bounds(left, 20.0, left + 8.0, 30.0);
    let all = [
        (Some("a"), shape(0.0)),
        (Some("b"), shape(20.0)),
        (Some("a"), shape(40.0)),
        (None, shape(60.0)),
        (None, shape(80.0)),
    ];
    let picture = drawn(100, 40, &all, &style(1));
    let colours = [0, 20, 40, 60, 80].map(|x| picture.get_pixel(x, 29).0);
    assert_eq!(colours, [RED, NAVY, RED, RED, NAVY]);
    // The built-in colours differ from each other.
    let many: Vec<_> = (0..10).map(|i| (None, shape(f64::from(i) * 10.0))).collect();
    let picture = drawn(100, 40, &many, &DrawStyle { labels: false, ..Default::default() });
    let mut colours: Vec<_> = (0..10).map(|i| picture.get_pixel(i * 10, 29).0).collect();
    colours.sort_unstable();
    colours.dedup();
    assert_eq!(colours.len(), 10);
}

#[test]
fn lines_grow_with_the_picture() {
    for (side, thickness) in [(100, 1), (500, 2), (1000, 4)] {
        let far = f64::from(side);
        let picture = drawn(side, side, &[(None, bounds(0.0, 0.0, far, far))], &DrawStyle::default());
        let red = (0..side / 2).filter(|&x| picture.get_pixel(x, side / 2).0 != GREY).count();
        assert_eq!(red, thickness, "{side}");
    }
}

/// Boxes of one object share what it says beside them: an answer of 256 KiB takes no more than a few times that.
#[test]
fn boxes_of_an_object_share_their_label() {
    let boxes = vec!["[1,2,3,4]"; 10_000].join(",");
    let answer =
        format!(r#"{{"label": "{}", "note": "{}", "bbox_2d": [{boxes}]}}"#, "l".repeat(50_000), "n".repeat(50_000));
    let found = parse(&answer).unwrap().detections;
    assert_eq!(found.len(), 10_000);
    let (first, last) = (&found[0], &found[9_999]);
    assert!(std::sync::Arc::ptr_eq(&first.extra, &last.extra));
    assert!(std::sync::Arc::ptr_eq(first.label.as_ref().unwrap(), last.label.as_ref().unwrap()));
    assert!(std::sync::Arc::ptr_eq(&last.to_pixels(9, 9).label.unwrap(), last.label.as_ref().unwrap()));
}
