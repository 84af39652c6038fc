//! Questions for boxes and points.

use rand::Rng;

use crate::art::Art;
use crate::expected::{Expected, Located};
use crate::naming::pick;
use crate::phrasing;
use crate::place::Place;
use crate::scene::Scene;
use crate::thing::Thing;

impl Scene {
    /// Where things of a name are, or all things; one time in ten a thing that is not there.
    pub(crate) fn ask_locate(
        &self,
        art: &Art,
        rng: &mut impl Rng,
        points: bool,
    ) -> Option<(String, (String, Expected))> {
        let ways = if points { phrasing::POINT } else { phrasing::LOCATE };
        let (name, things): (String, Vec<&Thing>) = match rng.random_range(0..10) {
            0 => {
                let (noun, _) = self.pick_absent(art, rng);
                let answer = format!("There is no {noun}.");
                let located = Vec::new();
                let expected = if points { Expected::Points { located } } else { Expected::Boxes { located } };
                return Some((pick(rng, ways, &format!("the {noun}")), (answer, expected)));
            }
            1 | 2 if !self.things.is_empty() => ("every thing".to_owned(), self.things.iter().collect()),
            _ => {
                let (noun, nouns) = self.pick_present(rng)?;
                let things: Vec<&Thing> = self.things.iter().filter(|thing| thing.noun == noun).collect();
                (if things.len() == 1 { format!("the {noun}") } else { format!("all {nouns}") }, things)
            }
        };
        let mut located: Vec<(Place, Located)> = things
            .into_iter()
            .map(|thing| {
                let bounds = thing.bounds.thousandths(self.width, self.height);
                (thing.place, Located { label: thing.noun.replace('"', ""), bounds })
            })
            .collect();
        located.sort_by(|(place, a), (other, b)| (place, &a.label, a.bounds).cmp(&(other, &b.label, b.bounds)));
        let located: Vec<Located> = located.into_iter().map(|(_, located)| located).collect();
        let answer = write_json(&located, points);
        let expected = if points { Expected::Points { located } } else { Expected::Boxes { located } };
        Some((pick(rng, ways, &name), (answer, expected)))
    }
}

/// Boxes, or their middles, as Qwen3-VL writes them: a fenced list with an object a line.
fn write_json(located: &[Located], points: bool) -> String {
    let object = |Located { label, bounds: [left, top, right, bottom] }: &Located| {
        if points {
            format!("\t{{\"point_2d\": [{}, {}], \"label\": \"{label}\"}}", (left + right) / 2, (top + bottom) / 2)
        } else {
            format!("\t{{\"bbox_2d\": [{left}, {top}, {right}, {bottom}], \"label\": \"{label}\"}}")
        }
    };
    let objects: Vec<String> = located.iter().map(object).collect();
    format!("```json\n[\n{}\n]\n```", objects.join(",\n"))
}
