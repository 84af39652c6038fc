//! What messages say of frames that were sampled before, against HF, and keys that nothing reads.

use crate::case;
use crate::heard;

use case::locate;
use heard::warnings;
use image::RgbImage;
use qwen3_vl_burn::processor::{
    ImageError, ImageOptions, ImageProcessor, ImageSource, PreprocessorConfig, VideoConfig, VideoOptions, VideoSource,
};
use qwen3_vl_burn::prompt::{ChatTemplate, Content, Message, RenderOptions, VideoPart};
use serde_json::{Value, json};

fn read_part(part: Value) -> VideoPart {
    serde_json::from_value(part).unwrap()
}

/// The times of a list of frames with the options of `part`, as the prompt has them.
fn tell_times(part: &VideoPart, frames: usize) -> Result<Vec<String>, ImageError> {
    let processor = ImageProcessor::new(PreprocessorConfig::default(), VideoConfig::default()).unwrap();
    let list: Vec<_> = vec![ImageSource::from(RgbImage::new(64, 64)); frames];
    let found = processor.process_video_source(&VideoSource::List(list), &part.options)?;
    Ok(found.timestamps.iter().map(|seconds| format!("{seconds:.1}")).collect())
}

fn say(times: &[&str]) -> Vec<String> {
    times.iter().map(|&time| time.to_owned()).collect()
}

/// The prompts that HF's processor writes for four frames with `VideoMetadata(fps=10, frames_indices=[0, 7, 15, 22])`,
/// with a rate alone, and with nothing.
#[test]
fn times_are_those_of_the_indices() {
    let indices = json!([0, 7, 15, 22]);
    for part in [
        json!({"video": [], "raw_fps": 10.0, "frames_indices": indices, "do_sample_frames": false}),
        json!({"video": [], "raw_fps": "10", "frames_indices": [0.0, "7", 15, 22], "total_num_frames": 23}),
        json!({"video": [], "fps": 10, "frames_indices": indices}),
        json!({"video": [], "fps": 2, "raw_fps": 10, "frames_indices": indices, "total_num_frames": 22.7}),
        json!({"video": [], "video_metadata": {"fps": 10.0, "frames_indices": indices, "total_num_frames": 23}}),
        json!({"video": [], "video_metadata": {"fps": 10.0, "frames_indices": indices, "total_num_frames": 23,
            "width": 64, "height": 64, "duration": 2.3, "video_backend": "torchcodec"}, "do_sample_frames": false}),
        json!({"video": [], "video_metadata": [{"fps": 10.0, "frames_indices": indices, "duration": null}], "raw_fps": 10}),
    ] {
        let (part, warned) = warnings(|| read_part(part.clone()));
        assert_eq!(tell_times(&part, 4).unwrap(), ["0.3", "1.9"], "{part:?}");
        assert_eq!(warned, [""; 0], "{part:?}");
        // There and back.
        assert_eq!(read_part(serde_json::to_value(&part).unwrap()).options, part.options);
    }
    assert_eq!(tell_times(&read_part(json!({"video": [], "raw_fps": 10.0})), 4).unwrap(), ["0.1", "0.2"]);
    let metadata = json!({"video": [], "video_metadata": {"fps": 10.0, "total_num_frames": 4}});
    assert_eq!(tell_times(&read_part(metadata), 4).unwrap(), ["0.1", "0.2"]);
    assert_eq!(tell_times(&read_part(json!({"video": []})), 4).unwrap(), ["0.0", "0.1"]);
    // Without a rate it is 24, with a warning: (0 + 7) / 48 and (15 + 22) / 48.
    let unknown = read_part(json!({"video": [], "frames_indices": indices}));
    let (found, warned) = warnings(|| tell_times(&unknown, 4).unwrap());
    assert_eq!((found, warned.len()), (say(&["0.1", "0.8"]), 1));
}

#[test]
fn times_equal_the_reference() {
    let table = std::fs::read_to_string(locate("processor/timestamps.csv")).unwrap();
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let indices: Vec<usize> = fields[1].split(' ').map(|index| index.parse().unwrap()).collect();
        let part = json!({"video": [], "video_metadata": {"fps": fields[0], "frames_indices": indices}});
        let expected: Vec<&str> = fields[2].split(' ').collect();
        assert_eq!(tell_times(&read_part(part), indices.len()).unwrap(), expected, "{line}");
    }
    assert_eq!(table.lines().count(), 61);
}

#[test]
fn refuses_metadata_of_other_frames() {
    let refuse = |part: Value, wrong: &str| {
        let found = tell_times(&read_part(part.clone()), 4);
        assert!(matches!(found, Err(ImageError::Option { name, .. }) if name == wrong), "{part}: {found:?}");
    };
    let indices = json!([0, 7, 15, 22]);
    refuse(json!({"video": [], "raw_fps": 10, "frames_indices": [0, 7, 15]}), "frames_indices");
    refuse(json!({"video": [], "raw_fps": 10, "frames_indices": []}), "frames_indices");
    refuse(json!({"video": [], "frames_indices": indices, "do_sample_frames": true}), "frames_indices");
    refuse(json!({"video": [], "frames_indices": indices, "num_frames": 2}), "frames_indices");
    refuse(json!({"video": [], "frames_indices": indices, "total_num_frames": 22}), "total_num_frames");
    refuse(json!({"video": [], "raw_fps": 10, "total_num_frames": 23}), "total_num_frames");
    refuse(json!({"video": [], "total_num_frames": 0}), "total_num_frames");
    for bad in [
        json!({"video": [], "frames_indices": 7}),
        json!({"video": [], "frames_indices": [0, -1]}),
        json!({"video": [], "frames_indices": [0, 1.5]}),
        json!({"video": [], "frames_indices": [0, null]}),
        json!({"video": [], "total_num_frames": -1}),
        json!({"video": [], "video_metadata": "10 fps"}),
        json!({"video": [], "video_metadata": {"fps": 10}, "raw_fps": 30}),
        json!({"video": [], "video_metadata": {"frames_indices": [0]}, "frames_indices": [1]}),
    ] {
        assert!(serde_json::from_value::<VideoPart>(bad.clone()).is_err(), "{bad}");
    }
}

#[test]
fn keys_that_nothing_reads_are_named() {
    let warn = |message: Value| {
        let (found, warned) = warnings(|| serde_json::from_value::<Message>(message));
        found.unwrap();
        warned
    };
    let parts = json!({"role": "user", "content": [
        {"type": "image", "image": "a.png", "max_pixel": 9, "resized_height": null},
        {"type": "image", "image": "a.png", "url": "b.png", "max_pixel": 8},
        {"type": "image_url", "image_url": {"url": "c", "detail": "low"}},
        {"type": "video", "video": [{"image": "d"}, {"image": "e", "time": 3}], "video_start": 1, "nframes": 2,
            "video_metadata": {"fps": 1, "codec": "av1"}},
        {"type": "text", "text": "x", "cache_control": {}},
    ]});
    let keys =
        "`max_pixel`, `url`, `image_url.detail`, `video_start`, `video.time`, `video_metadata.codec`, `cache_control`";
    assert_eq!(warn(parts), [format!("the parts of a message: nothing reads {keys}; check the spelling")]);
    // What is read says nothing.
    assert_eq!(
        warn(json!({"role": "user", "content": [
            {"type": "image", "base64": "Zm9v", "min_pixels": 1, "max_pixels": 2},
            {"type": "video", "path": "a", "fps": 1, "raw_fps": 2, "min_frames": 1, "max_frames": 9, "total_pixels": 3,
                "do_sample_frames": true, "sample_fps": null, "video_metadata": null},
            {"type": "text", "text": "x", "image": null},
        ]})),
        [""; 0]
    );
    let (_, warned) = warnings(|| serde_json::from_value::<Content>(json!({"text": "x", "colour": "red"})).unwrap());
    assert_eq!(warned, ["a part of a message: nothing reads `colour`; check the spelling"]);
}

/// What a template reads of a message is its business: what it never names is told, once.
#[test]
fn keys_that_the_template_never_names_are_told_once() {
    let template = ChatTemplate::new("{% for m in messages %}{{ m.content }}{{ m.mood }}{% endfor %}", "test").unwrap();
    let message: Message = serde_json::from_value(json!({"role": "user", "content": "x", "mood": "gay", "moods": 2,
        "conten": "y", "name": "Ada", "refusal": null}))
    .unwrap();
    let render = || template.clone().render(std::slice::from_ref(&message), &RenderOptions::default()).unwrap();
    let (text, warned) = warnings(render);
    assert_eq!(text, "xgay");
    assert_eq!(warned, ["a message for this chat template: nothing reads `conten`, `moods`; check the spelling"]);
    assert_eq!(warnings(render).1, [""; 0]);
}

#[test]
fn options_of_zero_are_blamed() {
    let config = PreprocessorConfig::default();
    for (options, wrong) in [
        (ImageOptions { min_pixels: Some(0), max_pixels: None }, "min_pixels"),
        (ImageOptions { min_pixels: None, max_pixels: Some(0) }, "max_pixels"),
    ] {
        let error = options.apply(&config).unwrap_err();
        assert!(matches!(error, ImageError::Option { name, .. } if name == wrong), "{error}");
        assert!(error.to_string().starts_with(&format!("option `{wrong}` of a picture or video is 0")), "{error}");
    }
    let options = VideoOptions { min_pixels: Some(0), ..Default::default() };
    let found = options.apply(&VideoConfig::default());
    assert!(matches!(found, Err(ImageError::Option { name: "min_pixels", .. })));
}

/// A template that writes messages out as they are reads all of their keys.
#[test]
fn templates_that_take_whole_messages_ignore_nothing() {
    let message: Message = serde_json::from_value(json!({"role": "user", "content": "a", "mood": "calm"})).unwrap();
    let warn = |source: &str| {
        let template = ChatTemplate::new(source, "test").unwrap();
        warnings(|| template.render(std::slice::from_ref(&message), &RenderOptions::default()).unwrap()).1
    };
    assert!(warn("{% for message in messages %}{{ message | tojson }}{% endfor %}").is_empty());
    assert!(warn("{{ messages }}").is_empty());
    assert_eq!(warn("{% for message in messages %}{{ message.content | tojson }}{% endfor %}").len(), 1);
}
