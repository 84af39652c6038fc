//! Scenes, questions and splits over many seeds.

use std::collections::{BTreeMap, HashSet};

use kiln_scenes::{
    Art, Damage, Expected, Kind, Options, Place, Sample, Samples, Scene, SceneError, Split, Task, Thing, is_held_out,
    is_word_held_out, score,
};

fn options(split: Split) -> Options {
    Options { split, ..Options::default() }
}

fn bytes(sample: &Sample) -> (Vec<Vec<u8>>, String) {
    (sample.scenes.iter().map(|scene| scene.render().into_raw()).collect(), sample.line(&[]))
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let mut seen = HashSet::new();
    for split in [Split::Train, Split::Seeds, Split::Combinations] {
        let first: Vec<_> = Samples::new(7, options(split)).take(40).map(|sample| bytes(&sample)).collect();
        let again = (7..47).map(|seed| bytes(&Sample::draw(seed, &options(split))));
        assert!(again.eq(first.iter().cloned()));
        // Neither other seeds nor other splits give them.
        for (pictures, _) in first {
            assert!(seen.insert(pictures));
        }
        let scene = Scene::draw(3, &options(split));
        assert_eq!(scene.render(), Scene::draw(3, &options(split)).render());
    }
}

#[test]
fn boxes_have_exactly_what_is_drawn() {
    // A pixel that has the background's colour by chance can't be seen: so on several backgrounds.
    let backgrounds: Vec<_> = (0..6).map(|seed| Scene::draw(900 + seed, &options(Split::Seeds)).background).collect();
    let mut boxes = 0;
    for seed in 0..60 {
        let scene = Scene { damage: Damage::default(), ..Scene::draw(seed, &options(Split::Train)) };
        for thing in &scene.things {
            let mut drawn: Option<[i32; 4]> = None;
            for background in &backgrounds {
                let with =
                    |things: Vec<Thing>| Scene { background: background.clone(), things, ..scene.clone() }.render();
                let (bare, one) = (with(Vec::new()), with(vec![thing.clone()]));
                for ((x, y, pixel), other) in one.enumerate_pixels().zip(bare.pixels()).filter(|((.., a), b)| a != b) {
                    assert_ne!(pixel, other);
                    let (x, y) = (x as i32, y as i32);
                    let [left, top, right, bottom] = drawn.unwrap_or([x, y, x, y]);
                    drawn = Some([left.min(x), top.min(y), right.max(x + 1), bottom.max(y + 1)]);
                }
            }
            let bounds = thing.bounds;
            assert_eq!(drawn, Some([bounds.left, bounds.top, bounds.right, bounds.bottom]), "{seed}: {}", thing.noun);
            let (x, y) = bounds.centre();
            assert_eq!(thing.place, Place::of(x, y, scene.width, scene.height));
            boxes += 1;
        }
    }
    assert!(boxes > 100, "{boxes}");
}

#[test]
fn every_thing_stays_visible() {
    for seed in 0..150 {
        let scene = Scene { damage: Damage::default(), ..Scene::draw(seed, &options(Split::Train)) };
        let all = scene.render();
        for (number, thing) in scene.things.iter().enumerate() {
            let others: Vec<Thing> =
                (0..).zip(&scene.things).filter(|(n, _)| *n != number).map(|(_, t)| t.clone()).collect();
            let alone = Scene { things: vec![thing.clone()], ..scene.clone() }.render();
            let bare = Scene { things: Vec::new(), ..scene.clone() }.render();
            let without = Scene { things: others, ..scene.clone() }.render();
            let count =
                |a: &image::RgbImage, b: &image::RgbImage| a.pixels().zip(b.pixels()).filter(|(a, b)| a != b).count();
            let (whole, seen) = (count(&alone, &bare), count(&all, &without));
            assert!(whole > 20 && seen * 2 > whole, "{seed}: {} shows {seen} of {whole} pixels", thing.noun);
        }
    }
}

/// The rule, from what a test can see of a thing.
fn is_kept_back(thing: &Thing) -> bool {
    match &thing.kind {
        Kind::Art { .. } | Kind::Shape { .. } => is_held_out(Some(&thing.noun), thing.colour, thing.place),
        Kind::Word { text, .. } => is_word_held_out(text),
        Kind::Number { .. } | Kind::Unknown => false,
    }
}

#[test]
fn training_never_sees_what_is_held_out() {
    for split in [Split::Train, Split::Seeds] {
        let mut things = 0;
        for sample in Samples::new(0, options(split)).take(700) {
            for thing in sample.scenes.iter().flat_map(|scene| &scene.things) {
                assert!(!is_kept_back(thing), "{split:?} {}: {}", sample.seed, thing.noun);
                things += 1;
            }
        }
        assert!(things > 1500, "{things}");
    }
    let mut kinds = [0; 3];
    for seed in 0..200 {
        let scene = Scene::draw(seed, &options(Split::Combinations));
        let first = &scene.things[0];
        assert!(is_kept_back(first), "{seed}: {}", first.noun);
        kinds[match first.kind {
            Kind::Art { .. } => 0,
            Kind::Shape { .. } => 1,
            _ => 2,
        }] += 1;
    }
    assert!(kinds.iter().all(|count| *count > 0), "{kinds:?}");
}

#[test]
fn own_answers_are_right_and_those_of_others_wrong() {
    for split in [Split::Train, Split::Seeds, Split::Combinations] {
        let mut of_task: BTreeMap<&str, Vec<Sample>> = BTreeMap::new();
        for sample in Samples::new(11, options(split)).take(700) {
            let own = score(&sample.dialogue.answer, &sample.dialogue.expected);
            assert!(own.right && own.invented == 0, "{}: {:?}", sample.task.name(), sample.dialogue);
            of_task.entry(sample.task.name()).or_default().push(sample);
        }
        assert_eq!(of_task.len(), Task::ALL.len());
        for samples in of_task.values() {
            for (sample, other) in samples.iter().zip(&samples[1..]) {
                let (right, wrong) = (&sample.dialogue, &other.dialogue);
                let found = score(&wrong.answer, &right.expected);
                // Absent things have different names in equal answers.
                let both_none = matches!(&right.expected, Expected::Boxes { located } | Expected::Points { located } if located.is_empty());
                if right.expected != wrong.expected && !both_none {
                    assert!(!found.right, "{:?} takes {:?}", right, wrong.answer);
                }
                for garbage in
                    [format!("{} {}", right.answer, wrong.answer), format!("Well: {}", right.answer), String::new()]
                {
                    let kept = matches!(
                        right.expected,
                        Expected::YesNo { .. } | Expected::Count { .. } | Expected::Colour { .. }
                    );
                    assert!(kept || !score(&garbage, &right.expected).right, "{garbage:?} for {:?}", right.expected);
                }
            }
        }
    }
}

#[test]
fn answers_cant_be_guessed_from_the_task() {
    let ask = |task| {
        let options = Options { tasks: vec![(task, 1.0)], ..Options::default() };
        Samples::new(50, options).take(300).map(|sample| sample.dialogue)
    };
    let yes = ask(Task::Exists).filter(|dialogue| dialogue.expected == Expected::YesNo { yes: true }).count();
    assert!((110..=190).contains(&yes), "{yes} of 300");
    let same = ask(Task::Compare).filter(|dialogue| matches!(dialogue.expected, Expected::YesNo { .. }));
    let (same, differ): (Vec<_>, Vec<_>) = same.partition(|dialogue| dialogue.answer.starts_with("Yes"));
    assert!(same.len() >= 25 && differ.len() >= 25, "{} and {}", same.len(), differ.len());
    let none = ask(Task::Choose).filter(|dialogue| dialogue.answer == "None of these.").count();
    assert!((90..=180).contains(&none), "{none} of 300");
    let mut counts = [0; 6];
    for dialogue in ask(Task::Count) {
        if let Expected::Count { count } = dialogue.expected {
            counts[count] += 1;
        }
    }
    assert!(counts.iter().all(|count| *count >= 8), "{counts:?}");
    let questions: HashSet<String> = ask(Task::Describe).map(|dialogue| dialogue.question).collect();
    assert!(questions.len() >= 10);
}

#[test]
fn pictures_have_the_sides_that_were_asked_for() {
    for sample in Samples::new(0, Options::default()).take(200) {
        for scene in &sample.scenes {
            for side in [scene.width, scene.height] {
                assert!((96..=224).contains(&side) && side % 32 == 0, "{side}");
            }
            assert!(scene.things.len() <= 5);
            for thing in &scene.things {
                let bounds = thing.bounds;
                assert!(
                    bounds.left >= 0
                        && bounds.top >= 0
                        && bounds.right <= scene.width as i32
                        && bounds.bottom <= scene.height as i32
                );
            }
        }
    }
}

#[test]
fn options_beyond_their_limits_are_taken_as_the_nearest() {
    for split in [Split::Train, Split::Combinations] {
        let tiny = Options { sides: 1..=2, things: 0..=1000, multiple: 0, ..options(split) };
        let huge = Options { sides: u32::MAX..=u32::MAX, things: 9..=9, multiple: u32::MAX, ..options(split) };
        for sample in Samples::new(0, tiny).take(60) {
            for scene in &sample.scenes {
                assert_eq!((scene.width, scene.height), (64, 64));
                assert!(scene.things.len() <= 5);
            }
        }
        let sample = Sample::draw(0, &huge);
        assert_eq!(sample.scenes[0].width, 2048);
    }
}

#[test]
fn the_art_that_is_built_in_has_two_styles_for_each_thing() {
    let art = Art::embedded();
    let known = &art.table().known;
    assert!(known.len() >= 200, "{}", known.len());
    for (cell, entry) in known.iter().enumerate() {
        assert_eq!(art.styles(cell), [0, 1], "{}", entry.name);
        assert!(entry.name.split(' ').count() <= 2);
        assert!(!entry.name.contains(|letter: char| !letter.is_ascii_lowercase() && letter != ' '), "{}", entry.name);
    }
}

#[test]
fn damaged_art_is_a_typed_error() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/scenes/");
    let read = |name: &str| std::fs::read(format!("{folder}{name}")).unwrap();
    let (table, noto, fluent) = (read("things.json"), read("noto.png"), read("fluent.png"));
    let decode = |table: &[u8], noto: &[u8]| Art::decode(table, &[noto, &fluent]).expect_err("damaged");
    for length in [0, 8, 100, noto.len() / 2] {
        assert!(matches!(decode(&table, &noto[..length]), SceneError::Atlas { .. }), "{length}");
    }
    let mut flipped = noto.clone();
    flipped[5000] ^= 0x55;
    assert!(matches!(decode(&table, &flipped), SceneError::Atlas { .. }));
    let small = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/picture.png")).unwrap();
    assert!(matches!(decode(&table, &small), SceneError::AtlasSize { .. }));
    assert!(matches!(decode(&table[..table.len() / 2], &noto), SceneError::Table(_)));
    let text = String::from_utf8(table.clone()).unwrap();
    let twice = text.replace("\"name\": \"dog\"", "\"name\": \"cat\"");
    assert!(matches!(decode(twice.as_bytes(), &noto), SceneError::BadTable(_)));
    let huge = text.replace("\"cell\": 64", "\"cell\": 4000000000");
    assert!(matches!(decode(huge.as_bytes(), &noto), SceneError::BadTable(_)));
    assert!(matches!(Art::decode(&table, &[&noto]), Err(SceneError::BadTable(_))));
    let one = text.replacen("\"1f5ff\"", "\"1f5ff\", \"aa\", \"ab\", \"ac\", \"ad\"", 1);
    assert!(matches!(decode(one.as_bytes(), &noto), SceneError::AtlasSize { .. } | SceneError::Empty(_)));
    assert!(matches!(Art::load(std::path::Path::new("/nowhere")), Err(SceneError::File { .. })));
}
