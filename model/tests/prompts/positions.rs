//! Multimodal positions against HF transformers.

use crate::case;

use case::Case;
use qwen3_vl_burn::positions::position_ids;
use qwen3_vl_burn::prompt::{Modality, classify_tokens};

const MERGE: usize = 2;

/// `image_token_id` and `video_token_id` of the tiny checkpoints.
const PADS: (u32, u32) = (6, 7);

fn read_modalities(case: &Case) -> Vec<Modality> {
    let modality = |&kind: &i64| match kind {
        0 => Modality::Text,
        1 => Modality::Image,
        2 => Modality::Video,
        other => panic!("{other}"),
    };
    case.ints("mm_token_type_ids").unwrap().iter().map(modality).collect()
}

#[test]
fn positions_equal_the_reference() {
    for name in ["text", "image", "two-images", "video"] {
        let case = Case::read(&format!("tiny-dense/{name}.safetensors"));
        let (images, videos) = (case.grids("image_grid_thw"), case.grids("video_grid_thw"));
        let positions = position_ids(&read_modalities(&case), &images, &videos, MERGE).unwrap();
        assert_eq!(positions.ids.concat(), case.ints("expect.position_ids").unwrap(), "{name}");
        assert_eq!(vec![positions.rope_delta], case.ints("expect.rope_delta").unwrap(), "{name}");
    }
}

#[test]
fn modalities_follow_from_the_ids() {
    for name in ["text", "image", "two-images", "video"] {
        let case = Case::read(&format!("tiny-dense/{name}.safetensors"));
        let ids: Vec<u32> = case.ints("input_ids").unwrap().iter().map(|&id| id as u32).collect();
        assert_eq!(classify_tokens(&ids, PADS.0, PADS.1), read_modalities(&case), "{name}");
    }
}
