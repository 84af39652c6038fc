//! Video files through FFmpeg: the installed one where there is one, and stand-ins that fail in every way.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use image::{Rgb, RgbImage};
use qwen3_vl_burn::processor::{
    ImageError, ImageProcessor, PreprocessorConfig, ProcessedVideo, VideoConfig, VideoError, VideoOptions, VideoSource,
    VideoTools,
};

/// A script that is being written cannot be started, not even while another test forks: one at a time.
static ONE: Mutex<()> = Mutex::new(());

/// What `ffprobe` says of two-by-one frames; `P` and `F` stand for the counts of packets and frames.
const PROBE: &str = r#"{"streams":[{"width":2,"height":1,"r_frame_rate":"10/1","avg_frame_rate":"10/1","nb_read_packets":"P","nb_read_frames":"F"}]}"#;

/// How a Matroska file begins: what programs are asked about is no text.
const VIDEO: &[u8] = b"\x1a\x45\xdf\xa3";

/// Stand-ins for FFmpeg's programs and a file for them.
struct Fake {
    folder: tempfile::TempDir,
    tools: VideoTools,
    _guard: MutexGuard<'static, ()>,
}

impl Fake {
    /// Both are shell scripts.
    fn new(ffprobe: &str, ffmpeg: &str) -> Self {
        let guard = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("video.mp4"), VIDEO).unwrap();
        let write = |name: &str, script: &str| {
            let path = folder.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let timeout = Duration::from_secs(20);
        let tools = VideoTools { ffprobe: write("probe", ffprobe), ffmpeg: write("decode", ffmpeg), timeout };
        Self { folder, tools, _guard: guard }
    }

    /// `ffprobe` tells of `packets`, and `frames` when it counts them; `ffmpeg` is a script.
    fn counting(packets: &str, frames: &str, ffmpeg: &str) -> Self {
        Self::new(&format!("echo '{}'", PROBE.replace('P', packets).replace('F', frames)), ffmpeg)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn open(&self) -> Result<ProcessedVideo, ImageError> {
        let path = self.path("video.mp4");
        // Errors name the file.
        open(&path, &self.tools, &VideoOptions::default()).map_err(|error| match error {
            ImageError::File { path: found, source } if found == path => *source,
            other => other,
        })
    }

    fn refuse(&self) -> VideoError {
        match self.open() {
            Err(ImageError::Video(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    fn with_timeout(mut self, milliseconds: u64) -> Self {
        self.tools.timeout = Duration::from_millis(milliseconds);
        self
    }
}

fn make_processor(tools: &VideoTools) -> ImageProcessor {
    let processor = ImageProcessor::new(PreprocessorConfig::default(), VideoConfig::default()).unwrap();
    processor.with_video_tools(tools.clone())
}

fn open(path: &Path, tools: &VideoTools, options: &VideoOptions) -> Result<ProcessedVideo, ImageError> {
    make_processor(tools).process_video_source(&VideoSource::from(path), options)
}

/// Why a video is refused; the error names its file, in one way or the other.
fn refuse(path: &Path, tools: &VideoTools) -> VideoError {
    match open(path, tools, &VideoOptions::default()) {
        Err(ImageError::Video(error)) => {
            assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
            error
        }
        Err(ImageError::File { path: found, source }) if found == path => match *source {
            ImageError::Video(error) => error,
            other => panic!("{other}"),
        },
        other => panic!("{other:?}"),
    }
}

/// A script that pipes `count` frames of two by one pixels, the first ones of `abcdefghi..`.
fn pipe(count: usize) -> String {
    (0..count)
        .map(|index| format!("printf 'P6\\n2 1\\n255\\n{}'\n", ["abcdef", "ghijkl", "mnopqr", "stuvwx"][index]))
        .collect()
}

#[test]
fn frames_come_through() {
    let fake = Fake::counting("4", "4", &pipe(4));
    let found = fake.open().unwrap();
    let frame = |bytes: &[u8; 6]| RgbImage::from_raw(2, 1, bytes.to_vec()).unwrap();
    let frames = [b"abcdef", b"ghijkl", b"mnopqr", b"stuvwx"].map(frame);
    assert_eq!(found.pixels, make_processor(&fake.tools).process_video(&frames).unwrap());
    assert_eq!(found.timestamps, [0.05, 0.25]);
}

#[test]
fn names_are_no_options_and_no_protocols() {
    let fake =
        Fake::counting("4", "4", &format!("printf '%s\\n' \"$@\" > \"$(dirname \"$0\")/arguments\"\n{}", pipe(4)));
    for name in ["-y", "concat:a|b", "http:x", "a'b $(touch x);%03d.mp4"] {
        let path = fake.path(name);
        fs::write(&path, VIDEO).unwrap();
        open(&path, &fake.tools, &VideoOptions::default()).unwrap();
        let arguments = fs::read_to_string(fake.path("arguments")).unwrap();
        let arguments: Vec<&str> = arguments.lines().collect();
        let input = arguments.iter().position(|&argument| argument == "-i").unwrap() + 1;
        assert_eq!(arguments[input], format!("file:{}", path.display()));
        let allowed = arguments.iter().position(|&argument| argument == "-protocol_whitelist").unwrap() + 1;
        assert_eq!(arguments[allowed], "file");
        assert!(arguments.contains(&"select='((eq(n,0)+eq(n,1))+(eq(n,2)+eq(n,3)))',settb=1/25,setpts=N"));
    }
    assert!(!fake.path("x").exists());
}

#[test]
fn a_missing_program_is_named() {
    let mut fake = Fake::counting("4", "4", &pipe(4));
    let present = fake.tools.clone();
    fake.tools.ffmpeg = "/no/such/ffmpeg".into();
    let error = fake.refuse();
    assert!(matches!(&error, VideoError::ToolMissing { program } if program == Path::new("/no/such/ffmpeg")));
    assert!(error.to_string().contains("apt install ffmpeg") && error.to_string().contains("folder of frames"));
    fake.tools = VideoTools { ffprobe: "no-such-ffprobe".into(), ..present.clone() };
    assert!(matches!(fake.refuse(), VideoError::ToolMissing { program } if program == Path::new("no-such-ffprobe")));
    // A file that is no program.
    fake.tools = VideoTools { ffprobe: fake.path("video.mp4"), ..present };
    assert!(matches!(fake.refuse(), VideoError::ToolStart { .. }));
}

/// The default tools with nothing in `PATH`: this test runs itself again under such an environment.
#[test]
fn an_empty_path_has_no_program() {
    if std::env::var_os("KILN_TEST_EMPTY_PATH").is_some() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("video.mp4"), VIDEO).unwrap();
        let found = open(&folder.path().join("video.mp4"), &VideoTools::default(), &VideoOptions::default());
        let error = found.unwrap_err();
        assert!(
            matches!(&error, ImageError::Video(VideoError::ToolMissing { program }) if program == Path::new("ffprobe"))
        );
        return;
    }
    let _guard = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let empty = tempfile::tempdir().unwrap();
    let again = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "an_empty_path_has_no_program"])
        .env("PATH", empty.path())
        .env("KILN_TEST_EMPTY_PATH", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn failures_carry_what_the_program_said() {
    let fake = Fake::new("echo 'moov atom not found' >&2; exit 3", "");
    let found = fake.refuse();
    let VideoError::ToolFailed { program, path, status, stderr } = &found else { panic!("{found:?}") };
    assert!(program.ends_with("probe") && path.ends_with("video.mp4"));
    assert_eq!((status.code(), stderr.as_str()), (Some(3), "moov atom not found"));
    drop(fake);
    // After a frame, and in the middle of one.
    for ffmpeg in [pipe(1), "printf 'P6\\n2 1\\n255\\nabc'".to_owned()] {
        let fake = Fake::counting("4", "4", &format!("{ffmpeg}\necho broken >&2; exit 1"));
        assert!(matches!(fake.refuse(), VideoError::ToolFailed { stderr, .. } if stderr == "broken"));
    }
    // A megabyte of messages neither blocks nor is kept.
    let fake = Fake::new("head -c 1000000 /dev/zero | tr '\\0' x >&2; echo end >&2; exit 1", "");
    assert!(
        matches!(fake.refuse(), VideoError::ToolFailed { stderr, .. } if stderr.len() <= 4096 && stderr.ends_with("xend"))
    );
}

#[test]
fn hanging_programs_are_stopped() {
    let hang = "echo waiting >&2; exec sleep 60";
    // A grandchild that keeps the pipes open; output that stops in a head, in a frame, and after the last frame.
    let scripts = [
        Fake::new as fn(&str, &str) -> Fake,
        |_, _| Fake::new("sleep 60; true", ""),
        |_, hang| Fake::counting("4", "4", hang),
        |_, hang| Fake::counting("4", "4", &format!("{}{hang}", pipe(1))),
        |_, hang| Fake::counting("4", "4", &format!("printf 'P6\\n2 1\\n255\\nabc'; {hang}")),
        |_, hang| Fake::counting("4", "4", &format!("exec >&-; {hang}")),
    ];
    for make in scripts {
        let fake = make(hang, hang).with_timeout(300);
        let began = Instant::now();
        let found = fake.refuse();
        assert!(matches!(found, VideoError::ToolTimeout { seconds: 0.3, .. }), "{found:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
    // With every frame there, what it does next doesn't matter.
    assert!(Fake::counting("4", "4", &format!("{}{hang}", pipe(4))).open().is_ok());
}

#[test]
fn an_endless_program_is_ended() {
    let endless = "echo $$ > \"$(dirname \"$0\")/pid\"; while printf 'P6\\n2 1\\n255\\nabcdef'; do :; done";
    let fake = Fake::counting("4", "4", endless);
    assert!(fake.open().is_ok());
    let pid = fs::read_to_string(fake.path("pid")).unwrap();
    let alive = Command::new("kill").args(["-0", pid.trim()]).output().unwrap().status.success();
    assert!(!alive, "process {pid} goes on");
}

#[test]
fn lies_about_counts_are_found() {
    // 8 packets, of which frames 0, 2, 5, 7 are asked for, and 3 come: a second count says 3.
    let found = Fake::counting("8", "3", &pipe(3)).open().unwrap();
    // Frames 0, 1 (times 0, 0.1), 2, and 2 again.
    assert_eq!(found.timestamps, [0.05, 0.2]);
    // It never says the truth.
    let found = Fake::counting("8", "8", &pipe(3)).refuse();
    assert!(matches!(found, VideoError::FrameCount { expected: 4, found: 3 }), "{found:?}");
    let found = Fake::counting("1000000000000", "1000000000000", &pipe(3)).refuse();
    assert!(matches!(found, VideoError::FrameCount { expected: 768, found: 3 }), "{found:?}");
    for none in ["0", "x"] {
        let found = Fake::counting(none, none, "").open();
        assert!(matches!(found, Err(ImageError::NoFrames)), "{found:?}");
    }
}

#[test]
fn nonsense_is_refused() {
    let probe = |text: &str| Fake::new(&format!("echo '{text}'"), "").open().unwrap_err();
    assert!(
        matches!(probe("no json"), ImageError::Video(VideoError::ToolOutput { found, .. }) if found == "no json\n")
    );
    assert!(matches!(probe(r#"{"streams":[]}"#), ImageError::Video(VideoError::NoStream { .. })));
    assert!(matches!(probe("{}"), ImageError::Video(VideoError::NoStream { .. })));
    assert!(matches!(probe(r#"{"streams":[{}]}"#), ImageError::Empty { .. }));
    let large = probe(r#"{"streams":[{"width":100000,"height":100000}]}"#);
    assert!(matches!(large, ImageError::Video(VideoError::FrameTooLarge { width: 100_000, .. })));
    let fast = probe(&PROBE.replace("10/1", "1000000000/1"));
    assert!(matches!(fast, ImageError::FrameRate { fps: 1e9 }));
    let endless = Fake::new("cat /dev/zero", "").refuse();
    assert!(matches!(endless, VideoError::ToolOutput { .. }), "{endless:?}");

    let frames = |ffmpeg: &str| Fake::counting("4", "4", ffmpeg).open().unwrap_err();
    let garbage = frames("echo something else");
    assert!(
        matches!(&garbage, ImageError::Video(VideoError::ToolOutput { found, .. }) if found.contains('s')),
        "{garbage:?}"
    );
    let half = frames("printf 'P6\\n2 1\\n255\\nabc'");
    assert!(
        matches!(&half, ImageError::Video(VideoError::ToolOutput { found, .. }) if found == "3 of the 6 bytes of a frame"),
        "{half:?}"
    );
    let large = frames("printf 'P6\\n100000 100000\\n255\\nabc'");
    assert!(matches!(large, ImageError::Video(VideoError::FrameTooLarge { .. })));
    let uneven = frames(&format!("{}printf 'P6\\n1 2\\n255\\nabcdef'", pipe(1)));
    assert!(matches!(uneven, ImageError::FrameSize { index: 1, expected: (1, 2), found: (2, 1) }), "{uneven:?}");
}

/// Runs the installed FFmpeg; tells visibly where there is none.
fn run_ffmpeg(arguments: &[&str], folder: &Path) -> bool {
    match Command::new("ffmpeg").args(["-v", "error", "-nostdin", "-y"]).args(arguments).current_dir(folder).output() {
        Ok(done) => {
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            true
        }
        Err(error) => {
            eprintln!("SKIPPED: no ffmpeg here ({error})");
            false
        }
    }
}

/// Writes frames as raw samples and has FFmpeg make `video.mkv` of them, lossless, at 10 frames a second.
fn make_video(folder: &Path, frames: &[RgbImage]) -> bool {
    let raw: Vec<u8> = frames.iter().flat_map(|frame| frame.as_raw().clone()).collect();
    fs::write(folder.join("raw"), raw).unwrap();
    let size = format!("{}x{}", frames[0].width(), frames[0].height());
    let input = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", &size, "-r", "10", "-i", "raw"];
    run_ffmpeg(&[&input[..], &["-c:v", "ffv1", "-pix_fmt", "bgr0", "video.mkv"]].concat(), folder)
}

fn make_frames(count: u32, height: u32, width: u32) -> Vec<RgbImage> {
    let pixel =
        |index: u32, x: u32, y: u32| Rgb([index * 11 + x * 3, y * 5 + index, x + y * 2 + index * 7].map(|v| v as u8));
    (0..count).map(|index| RgbImage::from_fn(width, height, |x, y| pixel(index, x, y))).collect()
}

fn from_frames(frames: &[RgbImage], options: VideoOptions) -> ProcessedVideo {
    let options = VideoOptions { raw_fps: Some(10.0), ..options };
    make_processor(&VideoTools::default()).process_video_source(&frames.to_vec().into(), &options).unwrap()
}

#[test]
fn files_equal_their_frames() {
    let _guard = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let folder = tempfile::tempdir().unwrap();
    let frames = make_frames(47, 64, 96);
    if !make_video(folder.path(), &frames) {
        return;
    }
    let path = folder.path().join("video.mkv");
    let tools = VideoTools::default();
    for options in [
        VideoOptions::default(),
        VideoOptions { num_frames: Some(7), ..Default::default() },
        VideoOptions { do_sample_frames: Some(false), ..Default::default() },
    ] {
        assert!(open(&path, &tools, &options).unwrap() == from_frames(&frames, options.clone()), "{options:?}");
    }
    // From memory.
    let bytes = VideoSource::from(fs::read(&path).unwrap());
    let found = make_processor(&tools).process_video_source(&bytes, &VideoOptions::default()).unwrap();
    assert!(found == from_frames(&frames, VideoOptions::default()));
    // With sound before the picture, a damaged tail, and as something that is no video.
    let data = fs::read(&path).unwrap();
    fs::write(folder.path().join("cut.mkv"), &data[..data.len() / 2]).unwrap();
    let cut = open(&folder.path().join("cut.mkv"), &tools, &VideoOptions::default());
    assert!(cut.as_ref().is_ok_and(|video| video.pixels.grid.t == 2), "{cut:?}");
    fs::write(folder.path().join("text.mp4"), "no video at all").unwrap();
    let text = refuse(&folder.path().join("text.mp4"), &tools);
    assert!(matches!(text, VideoError::NoVideo { name: "text", .. }), "{text:?}");
    run_ffmpeg(&["-f", "lavfi", "-i", "anullsrc", "-t", "0.1", "sound.mp4"], folder.path());
    let sound = refuse(&folder.path().join("sound.mp4"), &tools);
    assert!(matches!(sound, VideoError::NoStream { .. }), "{sound:?}");
}

#[test]
fn many_frames_come_through() {
    let _guard = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let folder = tempfile::tempdir().unwrap();
    let frames = make_frames(1_300, 32, 32);
    if !make_video(folder.path(), &frames) {
        return;
    }
    // Named one by one, and more than fit on a command line.
    for count in [768, 1_100] {
        let options = VideoOptions { num_frames: Some(count), ..Default::default() };
        let found = open(&folder.path().join("video.mkv"), &VideoTools::default(), &options).unwrap();
        assert_eq!(found.pixels.grid.t, count / 2);
        assert!(found == from_frames(&frames, options));
    }
}

#[test]
fn rotation_is_applied() {
    let _guard = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let folder = tempfile::tempdir().unwrap();
    let frames = make_frames(6, 64, 96);
    if !make_video(folder.path(), &frames) {
        return;
    }
    // PNG inside QuickTime is lossless. The track's matrix, 40 bytes into its header, maps (x, y) to (-y, x): to the
    // right becomes down, a quarter turn clockwise, as upright phones write it.
    run_ffmpeg(&["-i", "video.mkv", "-c:v", "png", "-pix_fmt", "rgb24", "plain.mov"], folder.path());
    let mut data = fs::read(folder.path().join("plain.mov")).unwrap();
    let matrix = data.windows(4).position(|name| name == b"tkhd").unwrap() + 44;
    for (index, value) in [0i32, 1 << 16, 0, -(1 << 16), 0, 0, 64 << 16, 0, 1 << 30].into_iter().enumerate() {
        data[matrix + index * 4..][..4].copy_from_slice(&value.to_be_bytes());
    }
    fs::write(folder.path().join("turned.mov"), data).unwrap();
    let found = open(&folder.path().join("turned.mov"), &VideoTools::default(), &VideoOptions::default()).unwrap();
    let turned: Vec<RgbImage> = frames.iter().map(image::imageops::rotate90).collect();
    assert!(found == from_frames(&turned, VideoOptions::default()));
}

/// A playlist that names another file is none of the formats that are read.
#[test]
fn playlists_name_no_other_files() {
    let _guard = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let folder = tempfile::tempdir().unwrap();
    if !make_video(folder.path(), &make_frames(4, 32, 32)) {
        return;
    }
    let other = folder.path().join("video.mkv");
    for text in [
        format!("ffconcat version 1.0\nfile '{}'\n", other.display()),
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{}\n#EXT-X-ENDLIST\n", other.display()),
    ] {
        let path = folder.path().join("list.mp4");
        fs::write(&path, text).unwrap();
        let found = refuse(&path, &VideoTools::default());
        assert!(matches!(found, VideoError::ToolFailed { .. }), "{found:?}");
    }
}
