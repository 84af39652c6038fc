use super::*;
use crate::expected::Located;

fn claim(phrase: &str, plural: &str, count: usize, place: Place) -> Claim {
    Claim { phrase: phrase.into(), plural: plural.into(), count, place }
}

fn caption() -> Expected {
    let claims = vec![
        claim("cat", "cats", 2, Place::TopLeft),
        claim("word \"to and\"", "word \"to and\"", 1, Place::Middle),
        claim("large red circle", "large red circles", 1, Place::Bottom),
    ];
    Expected::Caption { claims }
}

const CAPTION: &str =
    "Two cats at the top left, the word \"to and\" in the middle and a large red circle at the bottom.";

#[test]
fn a_right_caption_in_any_order() {
    assert!(score(CAPTION, &caption()).right);
    let turned = "a large red circle at the bottom, the word \"to and\" in the middle, a cat at the top left and a cat at the top left";
    assert!(score(turned, &caption()).right);
}

#[test]
fn each_error_of_a_caption_is_seen() {
    for (wrong, named, placed, invented) in [
        (CAPTION.replace("top left", "top"), 4, 2, 0),
        (CAPTION.replace("Two cats", "A cat"), 3, 3, 0),
        (CAPTION.replace("Two cats", "Three cats"), 4, 4, 1),
        (CAPTION.replace("large red circle", "red circle"), 3, 3, 1),
        (CAPTION.replace("a large", "the large"), 3, 3, 1),
        (CAPTION.replace("to and", "to And"), 3, 3, 1),
        (CAPTION.replace(" at the bottom.", "."), 4, 3, 0),
        (CAPTION.replace("cats", "cats and dogs"), 4, 2, 1),
        (CAPTION.replace(" in the middle and", " in the middle"), 2, 2, 1),
        (CAPTION.replace("bottom.", "bottom. And more."), 3, 3, 1),
        ("cat circle top left word".to_owned(), 0, 0, 1),
        (String::new(), 0, 0, 1),
        ("There is nothing in the picture.".to_owned(), 0, 0, 0),
    ] {
        let found = score(&wrong, &caption());
        let count = |of: fn(&ThingScore) -> bool| found.things.iter().filter(|thing| of(thing)).count();
        assert!(!found.right, "{wrong}");
        assert_eq!(
            (count(|thing| thing.named), count(|thing| thing.placed), found.invented),
            (named, placed, invented),
            "{wrong}"
        );
    }
}

#[test]
fn nothing_is_said_in_its_own_words() {
    let empty = Expected::Caption { claims: Vec::new() };
    assert!(score("There is nothing in the picture.", &empty).right);
    for wrong in ["", "Nothing.", "A cat in the middle.", "There is nothing in the picture. A cat."] {
        assert!(!score(wrong, &empty).right, "{wrong}");
    }
}

#[test]
fn short_answers_are_read_as_a_whole() {
    let count = Expected::Count { count: 3 };
    let colour = Expected::Colour { colour: Colour::Red };
    let yes = Expected::YesNo { yes: true };
    let no = Expected::YesNo { yes: false };
    let place = Expected::Place { place: Place::Top };
    let text = Expected::Text { text: "Sun".into() };
    let sentence = Expected::Sentence { text: "The ball moves up.".into() };
    for (answer, expected, right) in [
        ("Three.", &count, true),
        ("3", &count, true),
        ("There are three cats.", &count, true),
        ("Two or three.", &count, false),
        ("Thirty-three", &count, false),
        ("one, two, three", &count, false),
        ("Red.", &colour, true),
        ("The circle is red.", &colour, true),
        ("Red or blue.", &colour, false),
        ("Reddish.", &colour, false),
        ("Yes, there is a cat.", &yes, true),
        ("Yes and no.", &yes, false),
        ("yesterday", &yes, false),
        ("It is. Yes.", &yes, false),
        ("No, there is no cat.", &no, true),
        ("No, yes.", &no, false),
        ("Not sure.", &no, false),
        ("At the top.", &place, true),
        ("At the top left.", &place, false),
        ("top", &place, false),
        ("Sun", &text, true),
        ("\"Sun\".", &text, true),
        ("sun", &text, false),
        ("Sunny", &text, false),
        ("The Sun", &text, false),
        ("the ball moves up", &sentence, true),
        ("The ball moves up and down.", &sentence, false),
    ] {
        assert_eq!(score(answer, expected).right, right, "{answer:?}");
    }
}

#[test]
fn lists_are_complete_and_have_nothing_else() {
    let expected = Expected::Things { items: vec!["two cats".into(), "an owl".into()] };
    assert!(score("An owl and two cats.", &expected).right);
    for wrong in [
        "Two cats.",
        "An owl, two cats and a dog.",
        "An owl and a cat.",
        "Nothing.",
        "owl two cats",
        "An owl, an owl and two cats.",
    ] {
        assert!(!score(wrong, &expected).right, "{wrong}");
    }
    let none = Expected::Things { items: Vec::new() };
    assert!(score("Nothing.", &none).right);
    assert!(!score("A cat.", &none).right);
}

#[test]
fn boxes_are_matched_by_label_and_overlap() {
    let at = |label: &str, bounds| Located { label: label.into(), bounds };
    let located = vec![at("cat", [0, 0, 100, 100]), at("cat", [500, 500, 600, 600]), at("dog", [0, 0, 1000, 1000])];
    let expected = Expected::Boxes { located };
    let dog = r#"{"bbox_2d": [0, 0, 1000, 1000], "label": "dog"}"#;
    let answer = |cats: &str| format!("```json\n[{cats}, {dog}]\n```");
    let both = r#"{"bbox_2d": [500, 500, 600, 600], "label": "cat"}, {"bbox_2d": [0, 0, 100, 50], "label": "cat"}"#;
    let found = score(&answer(both), &expected);
    assert!(found.right);
    assert_eq!(found.things.iter().map(|thing| thing.iou.unwrap()).collect::<Vec<_>>(), [0.5, 1.0, 1.0]);
    for wrong in [
        answer(r#"{"bbox_2d": [500, 500, 600, 600], "label": "cat"}"#),
        answer(&both.replace("100, 50]", "100, 49]")),
        answer(&both.replace("cat", "cats")),
        answer(&format!("{both}, {dog}")),
        answer(&both.replace("bbox_2d", "point_2d")),
        format!("Here: {}", answer(both)),
        answer(both)[..60].to_owned(),
        "There is no cat.".to_owned(),
        String::new(),
    ] {
        assert!(!score(&wrong, &expected).right, "{wrong}");
    }
    let none = Expected::Boxes { located: Vec::new() };
    assert!(score("There is no cat.", &none).right && score("[]", &none).right);
    assert!(!score(&answer(both), &none).right && !score("", &none).right);
}

#[test]
fn points_lie_in_their_boxes() {
    let expected = Expected::Points { located: vec![Located { label: "cat".into(), bounds: [100, 100, 200, 200] }] };
    assert!(score(r#"[{"point_2d": [150, 120], "label": "cat"}]"#, &expected).right);
    assert!(!score(r#"[{"point_2d": [250, 120], "label": "cat"}]"#, &expected).right);
    assert!(!score(r#"[{"bbox_2d": [100, 100, 200, 200], "label": "cat"}]"#, &expected).right);
}
