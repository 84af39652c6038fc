//! Captions: every thing of a scene with its place.

use crate::expected::{Claim, Expected};
use crate::grammar::{counted, join, sentence};
use crate::scene::Scene;

/// What a caption says of a picture that shows nothing.
pub const NOTHING: &str = "There is nothing in the picture.";

impl Scene {
    /// The scene's things as a caption says them: by place, row by row, and by name where they share one.
    pub fn claims(&self) -> Vec<Claim> {
        let mut claims: Vec<Claim> = Vec::new();
        for thing in &self.things {
            let (phrase, plural) = thing.phrases();
            match claims.iter_mut().find(|claim| claim.phrase == phrase && claim.place == thing.place) {
                Some(claim) => claim.count += 1,
                None => claims.push(Claim { phrase, plural, count: 1, place: thing.place }),
            }
        }
        claims.sort_by(|a, b| (a.place, &a.phrase).cmp(&(b.place, &b.phrase)));
        claims
    }

    /// The caption.
    pub fn caption(&self) -> (String, Expected) {
        let claims = self.claims();
        let say =
            |claim: &Claim| format!("{} {}", counted(claim.count, &claim.phrase, &claim.plural), claim.place.phrase());
        let said: Vec<String> = claims.iter().map(say).collect();
        let answer = if said.is_empty() { NOTHING.to_owned() } else { sentence(&join(&said)) };
        (answer, Expected::Caption { claims })
    }
}
