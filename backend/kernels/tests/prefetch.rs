//! Units of a file, streamed: the bytes are those of the file, the order is learned, the limit is held, failures are
//! errors.

use kiln_kernels::prefetch::{
    Choices, Files, Keep, Lease, Ledger, PageBuffer, Piece, PrefetchError, StreamStats, Streamer, StreamerOptions,
    Unit, drop_cached,
};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Bytes of a unit; odd, so that units begin anywhere in a page.
const UNIT: u64 = 100_003;

struct Case {
    _dir: TempDir,
    path: PathBuf,
    content: Vec<u8>,
    ledger: Ledger,
    streamer: Streamer,
}

fn piece(range: Range<u64>) -> Piece {
    Piece { name: format!("piece at {}", range.start), file: 0, range }
}

/// Unit `i` is two pieces with a hole between them.
fn unit(i: u64) -> Arc<Unit> {
    let start = 17 + i * UNIT;
    Arc::new(Unit::new(format!("unit {i}"), vec![piece(start + 50_000..start + UNIT), piece(start..start + 40_000)]))
}

fn write(units: u64) -> (TempDir, PathBuf, Vec<u8>) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let content: Vec<u8> = (0..17 + units * UNIT).map(|i| ((i * 2_654_435_761) >> 13) as u8).collect();
    let path = dir.path().join("weights");
    fs::write(&path, &content).unwrap();
    (dir, path, content)
}

fn start(units: u64, buffers: usize, keep: Keep) -> Case {
    start_as(units, StreamerOptions { buffers, keep, read_ahead: true })
}

fn start_as(units: u64, options: StreamerOptions) -> Case {
    let (dir, path, content) = write(units);
    let files = Arc::new(Files::open([&path]).unwrap());
    let ledger = Ledger::new(10 << 20);
    let streamer = Streamer::start(files, (0..units).map(unit).collect(), options, &ledger).unwrap();
    Case { _dir: dir, path, content, ledger, streamer }
}

impl Case {
    /// Asks for units in turn, compares every byte, and tells what happened. With `pause`, something else takes time
    /// between them.
    fn pass(&self, order: impl IntoIterator<Item = u64>, pause: bool) -> StreamStats {
        let before = self.streamer.stats();
        for i in order {
            self.check(i, &self.streamer.ask(i as usize).unwrap());
            if pause {
                std::thread::sleep(Duration::from_millis(30));
            }
        }
        self.streamer.stats().since(&before)
    }

    fn check(&self, i: u64, lease: &Lease) {
        let start = (17 + i * UNIT) as usize;
        assert!(lease.piece(0).as_ref() == &self.content[start + 50_000..start + UNIT as usize], "unit {i}");
        assert!(lease.piece(1).as_ref() == &self.content[start..start + 40_000], "unit {i}");
    }
}

#[test]
fn a_cycle_is_predicted_after_one_pass() {
    let case = start(8, 3, Keep::Ring);
    // Against the order of numbers: nothing is expected.
    let first = case.pass((0..8).rev(), true);
    assert_eq!((first.asked(), first.misses), (8, 8));
    // What comes after the last is not known before.
    assert!(case.pass((0..8).rev(), true).misses <= 1);
    let steady = case.pass((0..8).rev(), true);
    assert_eq!((steady.hits + steady.late, steady.misses, steady.hit_rate()), (8, 0, 1.0));
    assert_eq!(steady.wasted, 0);
    let bytes = 8 * unit(0).len() as u64;
    assert!(steady.bytes_read <= bytes + 8 * 4096, "{} > {bytes}", steady.bytes_read);
}

#[test]
fn the_order_of_numbers_is_expected_at_first() {
    let case = start(8, 2, Keep::Ring);
    assert_eq!(case.pass(0..8, true).misses, 1);
}

/// Another order for once: right bytes all the same.
#[test]
fn a_wrong_guess_costs_time_only() {
    let case = start(9, 3, Keep::Ring);
    case.pass((3..9).chain(3..9), false);
    case.pass([0, 7, 2, 2, 5], true);
    case.pass((0..9).chain(3..9).chain(3..9), false);
    assert_eq!(case.pass(3..9, false).misses, 0);
}

/// Without reading ahead a known order is of no use: each unit is read when it is asked for.
#[test]
fn nothing_is_read_ahead_where_that_is_off() {
    let case = start_as(8, StreamerOptions { buffers: 3, keep: Keep::Ring, read_ahead: false });
    for _ in 0..3 {
        let pass = case.pass(0..8, true);
        assert_eq!((pass.hits, pass.late, pass.misses, pass.wasted), (0, 0, 8, 0), "{pass:?}");
    }
}

/// The reason for the ring: a cycle larger than the cache hits nothing.
#[test]
fn the_least_recently_used_is_evicted_before_its_next_use() {
    let case = start(6, 4, Keep::Lru);
    case.pass(0..6, false);
    assert_eq!(case.pass(0..6, false).misses, 6);
    let case = start(4, 4, Keep::Lru);
    case.pass(0..4, false);
    assert_eq!(case.pass(0..4, false).hits, 4);
}

#[test]
fn leases_share_a_buffer_and_outlive_the_streamer() {
    let case = start(4, 2, Keep::Ring);
    let (first, again) = (case.streamer.ask(1).unwrap(), case.streamer.ask(1).unwrap());
    assert_eq!(first.piece(0).as_ref().as_ptr(), again.piece(0).as_ref().as_ptr());
    drop(first);
    case.pass([2, 3, 0, 2], false);
    case.check(1, &again);
    let piece = again.piece(1);
    let Case { streamer, content, .. } = case;
    drop((streamer, again));
    assert!(piece.as_ref() == &content[(17 + UNIT) as usize..][..40_000]);
}

#[test]
fn threads_ask_side_by_side() {
    let case = start(7, 3, Keep::Ring);
    std::thread::scope(|scope| {
        for shift in 0..2 {
            let case = &case;
            scope.spawn(move || case.pass((0..70).map(|i| (i * (1 + shift)) % 7), false));
        }
    });
}

#[test]
fn every_buffer_counts() {
    let case = start(5, 3, Keep::Ring);
    let (size, buffers) = case.streamer.ring();
    assert_eq!((case.ledger.held(), buffers), ((3 * size) as u64, 3));
    case.pass((0..5).chain(0..5), false);
    assert_eq!(case.ledger.high_water(), (3 * size) as u64);

    let (_dir, path, content) = write(2);
    let files = Files::open([&path]).unwrap();
    let pinned = Lease::read(&files, unit(1), &case.ledger).unwrap();
    assert!(pinned.piece(1).as_ref() == &content[(17 + UNIT) as usize..][..40_000]);
    assert_eq!(case.ledger.held(), (3 * size + PageBuffer::cost(unit(1).len())) as u64);
    drop(pinned);
    assert_eq!(case.ledger.held(), (3 * size) as u64);

    let small = Ledger::new(2 * size as u64);
    let options = StreamerOptions { buffers: 3, keep: Keep::Ring, read_ahead: true };
    let error = Streamer::start(Arc::new(files), (0..3).map(unit).collect(), options, &small).unwrap_err();
    assert!(matches!(error, PrefetchError::LimitTooSmall { least, .. } if least == 3 * size as u64), "{error}");
}

#[test]
fn ranges_are_gathered_in_the_order_asked_for() {
    let (_dir, path, content) = write(2);
    let files = Files::open([&path]).unwrap();
    let ranges = [1000..1010, 7..9, 4096..12_288, 1000..1010, 50..50];
    let expected: Vec<u8> =
        ranges.iter().flat_map(|range| content[range.start as usize..range.end as usize].to_vec()).collect();
    let mut found = vec![0; expected.len()];
    files.gather(0, &ranges, &mut found, "rows").unwrap();
    assert!(found == expected);
    let end = content.len() as u64;
    let beyond = std::slice::from_ref(&(end - 1..end + 1)).to_vec();
    let error = files.gather(0, &beyond, &mut [0; 2], "rows").unwrap_err();
    assert!(matches!(error, PrefetchError::Truncated { needed, found, .. } if (needed, found) == (end + 1, end)));
}

/// Twelve slices of 10,000 bytes in each of two arrays, for each of five layers.
fn choices(path: &Path, slices_in_memory: u64) -> (Choices, Ledger) {
    let layers = (0..5).map(|layer| {
        let array = |second: u64| piece(17 + (2 * layer + second) * 120_000..17 + (2 * layer + second + 1) * 120_000);
        (12, vec![array(0), array(1)])
    });
    let layers: Vec<_> = layers.collect();
    let cost = Choices::cost(12, &layers[0].1) / 12;
    let ledger = Ledger::new(slices_in_memory * cost);
    (Choices::new(Arc::new(Files::open([path]).unwrap()), layers, ledger.clone()).unwrap(), ledger)
}

#[test]
fn chosen_slices_are_at_their_place() {
    let (_dir, path, content) = write(12);
    let (choices, ledger) = choices(&path, 9);
    let visit = |layer: usize, chosen: &[usize]| {
        let arrays = choices.ask(layer, chosen).unwrap();
        for (second, array) in arrays.iter().enumerate() {
            let start = 17 + (2 * layer + second) * 120_000;
            assert_eq!(array.as_ref().len(), 120_000);
            for slice in chosen {
                let bytes = slice * 10_000..(slice + 1) * 10_000;
                assert!(
                    array.as_ref()[bytes.clone()] == content[start + bytes.start..start + bytes.end],
                    "{layer} {slice}"
                );
            }
        }
    };
    // Three slices of each of five layers are more than nine: some stay from pass to pass all the same.
    for pass in 0..4 {
        let before = choices.stats();
        (0..5).for_each(|layer| visit(layer, &[layer, layer + 2, layer + 7]));
        let after = choices.stats();
        assert_eq!(after.hits + after.misses - before.hits - before.misses, 15);
        assert!(pass < 2 || after.hits - before.hits >= 6, "{after:?}");
    }
    // As many as there is room for, and then one more.
    visit(2, &[0, 1, 2, 3, 4, 5, 6, 7, 8]);
    visit(3, &[11]);
    assert!(matches!(choices.ask(0, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]), Err(PrefetchError::LimitTooSmall { .. })));
    assert!(ledger.high_water() <= ledger.limit());
    cut(&path, 100_000);
    assert!(matches!(choices.ask(4, &[3]), Err(PrefetchError::Truncated { .. })));
}

/// A slice that its layer stops using goes before one that it uses.
#[test]
fn idle_slices_go_first() {
    let (_dir, path, _) = write(12);
    let (choices, _) = choices(&path, 6);
    for _ in 0..3 {
        (0..5).for_each(|layer| drop(choices.ask(layer, &[1]).unwrap()));
    }
    drop(choices.ask(0, &[2]).unwrap());
    let before = choices.stats();
    (1..5).for_each(|layer| drop(choices.ask(layer, &[1]).unwrap()));
    drop(choices.ask(0, &[2, 3]).unwrap());
    let after = choices.stats();
    assert_eq!((after.hits - before.hits, after.misses - before.misses), (5, 1));
}

/// Pages of a file that the page cache holds, bytes.
#[cfg(target_os = "linux")]
fn cached(path: &Path) -> usize {
    let file = fs::File::open(path).unwrap();
    // SAFETY: nobody writes to the file meanwhile.
    let map = unsafe { memmap2::Mmap::map(&file) }.unwrap();
    let mut pages = vec![0u8; map.len().div_ceil(4096)];
    // SAFETY: the mapping is `map.len()` bytes long, and there is a byte for each of its pages.
    let status = unsafe { libc::mincore(map.as_ptr().cast_mut().cast(), map.len(), pages.as_mut_ptr()) };
    assert_eq!(status, 0);
    pages.iter().filter(|&&page| page & 1 == 1).count() * 4096
}

/// The limit counts what the page cache would hold: nothing.
#[cfg(target_os = "linux")]
#[test]
fn the_page_cache_does_not_keep_what_is_read() {
    let case = start(64, 3, Keep::Ring);
    fs::File::open(&case.path).unwrap().sync_all().unwrap();
    drop_cached(&case.path).unwrap();
    if cached(&case.path) > 0 {
        // A file system that lives in the page cache.
        return;
    }
    case.pass((0..64).chain(0..64), false);
    let files = Files::open([&case.path]).unwrap();
    files.gather(0, &[5000..6000, 3_000_000..3_000_100], &mut [0; 1100], "rows").unwrap();
    let found = cached(&case.path);
    assert!(found <= 1 << 20, "{found} of {} bytes", case.content.len());
}

fn cut(path: &Path, len: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
}

#[test]
fn a_file_that_is_cut_gives_an_error_that_names_it() {
    let case = start(6, 2, Keep::Ring);
    case.pass(0..2, true);
    cut(&case.path, 17 + 5 * UNIT + 60_000);
    // The whole file is no longer what was opened; the end of it is gone.
    let changed = case.streamer.ask(4).unwrap_err();
    assert!(matches!(&changed, PrefetchError::Changed { file, .. } if *file == case.path), "{changed}");
    let error = case.streamer.ask(5).unwrap_err();
    let found = 17 + 5 * UNIT + 60_000;
    assert!(matches!(&error, PrefetchError::Truncated { found: f, .. } if *f == found), "{error}");
    assert!(error.to_string().contains("piece at"), "{error}");
    // Asking again reads again.
    assert!(case.streamer.ask(5).is_err());
}

#[test]
fn files_that_are_not_there_are_named() {
    let error = Files::open(["/nowhere/weights"]).unwrap_err();
    assert!(error.to_string().contains("/nowhere/weights"), "{error}");
}
