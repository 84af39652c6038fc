//! What each token of a prompt stands for.

/// What a token stands for; the values are HF's `mm_token_type_ids`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Modality {
    /// Text, or a mark around a picture.
    Text = 0,
    /// One token of a picture.
    Image = 1,
    /// One token of a video frame.
    Video = 2,
}

impl std::fmt::Display for Modality {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::Video => "video",
        })
    }
}

/// Tells what each token of `ids` stands for, from the ids of the image and video pads (`image_token_id` and
/// `video_token_id` of a checkpoint's configuration).
pub fn classify_tokens(ids: &[u32], image_pad: u32, video_pad: u32) -> Vec<Modality> {
    let classify = |&id: &u32| match id {
        id if id == image_pad => Modality::Image,
        id if id == video_pad => Modality::Video,
        _ => Modality::Text,
    };
    ids.iter().map(classify).collect()
}
