//! What a whole data set is like.

use std::fmt;

use serde::Serialize;

use super::Measure;

/// Bad records that a report lists; more are counted.
const LISTED: usize = 1000;
/// Bad records that a printed report shows.
const SHOWN: usize = 20;
/// Width of the longest bar of a printed histogram, characters.
const BAR: usize = 40;

/// What a whole data set is like; printed by `Display`, as JSON through `serde`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CheckReport {
    /// Records.
    pub records: usize,
    /// Records that can be trained on.
    pub sound: usize,
    /// Tokens of sound records.
    pub tokens: Spread,
    /// Tokens of sound records by powers of two.
    pub histogram: Vec<Bin>,
    /// Labels of sound records that count.
    pub targets: Spread,
    /// Pictures of sound records.
    pub images: usize,
    /// Patches of each sound record's pictures.
    pub image_patches: Spread,
    /// Videos of sound records.
    pub videos: usize,
    /// Patches of each sound record's videos.
    pub video_patches: Spread,
    /// Bad records, of which the first 1000 are listed below.
    pub bad: usize,
    /// The bad records, in order.
    pub bad_records: Vec<BadRecord>,
}

/// A record that cannot be trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BadRecord {
    /// Its file; empty where that is unknown.
    pub file: String,
    /// The line in which it begins, from 1; 0 where that is unknown.
    pub line: usize,
    /// Its line in a JSONL file, its number in a JSON array, from 1; its index in the data set where that is unknown.
    pub record: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// How numbers are spread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The smallest.
    pub min: usize,
    /// The one in the middle, the lower of two.
    pub median: usize,
    /// The largest.
    pub max: usize,
    /// Their sum.
    pub total: usize,
}

impl Spread {
    /// Of `numbers`; zeros for none.
    pub fn of(mut numbers: Vec<usize>) -> Self {
        numbers.sort_unstable();
        let (Some(&min), Some(&max)) = (numbers.first(), numbers.last()) else { return Self::default() };
        Self { min, median: numbers[(numbers.len() - 1) / 2], max, total: numbers.iter().sum() }
    }
}

/// Records of some range of lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bin {
    /// Most tokens.
    pub up_to: usize,
    /// Records with as many, and with more than those of the bin before.
    pub records: usize,
}

impl CheckReport {
    /// Sums up what sound records are, and what is wrong with the others.
    pub(super) fn new(measures: &[Measure], mut bad_records: Vec<BadRecord>) -> Self {
        let spread = |count: fn(&Measure) -> usize| Spread::of(measures.iter().map(count).collect());
        let bad = bad_records.len();
        bad_records.truncate(LISTED);
        Self {
            records: measures.len() + bad,
            sound: measures.len(),
            tokens: spread(|measure| measure.tokens),
            histogram: count_lengths(measures),
            targets: spread(|measure| measure.targets),
            images: measures.iter().map(|measure| measure.images).sum(),
            image_patches: spread(|measure| measure.image_patches),
            videos: measures.iter().map(|measure| measure.videos).sum(),
            video_patches: spread(|measure| measure.video_patches),
            bad,
            bad_records,
        }
    }

    /// The report in JSON, over several lines.
    pub fn to_json(&self) -> String {
        // Numbers, texts and lists: nothing that JSON cannot hold.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

/// Records by powers of two of tokens, from the shortest to the longest.
fn count_lengths(measures: &[Measure]) -> Vec<Bin> {
    let power = |tokens: usize| tokens.max(1).next_power_of_two();
    let powers = || measures.iter().map(|measure| power(measure.tokens));
    let (Some(least), Some(most)) = (powers().min(), powers().max()) else { return Vec::new() };
    let bounds = std::iter::successors(Some(least), |bound| bound.checked_mul(2)).take_while(|bound| *bound <= most);
    bounds.map(|up_to| Bin { up_to, records: powers().filter(|power| *power == up_to).count() }).collect()
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, sound, bad, .. } = self;
        writeln!(f, "records    {records}: {sound} sound, {bad} bad")?;
        let spreads = [("tokens", &self.tokens), ("labels", &self.targets)];
        for (name, Spread { min, median, max, total }) in spreads {
            writeln!(f, "{name:<10} {total} in all; a record {min} to {max}, median {median}")?;
        }
        for (name, count, spread) in
            [("pictures", self.images, &self.image_patches), ("videos", self.videos, &self.video_patches)]
        {
            let Spread { min, median, max, total } = spread;
            writeln!(f, "{name:<10} {count}, {total} patches; a record {min} to {max}, median {median}")?;
        }
        let most = self.histogram.iter().map(|bin| bin.records).max().unwrap_or(0).max(1);
        for Bin { up_to, records } in &self.histogram {
            let bar = "#".repeat((records * BAR).div_ceil(most));
            writeln!(f, "  up to {up_to:>7} tokens {records:>8} {bar}")?;
        }
        for BadRecord { file, line, record, reason } in self.bad_records.iter().take(SHOWN) {
            let number = if line == record { String::new() } else { format!(" (record {record})") };
            writeln!(f, "  {file}:{line}{number}: {reason}")?;
        }
        if *bad > SHOWN {
            writeln!(f, "  and {} more", bad - SHOWN)?;
        }
        Ok(())
    }
}
