//! Attention on Vulkan and as CUDA text, against f64: see `cube_vulkan.rs`.

mod cube_checks;
mod cube_device;

cube_device::test_on_devices! {
    attention:
    attention_matches_f64,
    split_keys_give_what_the_whole_gives,
    every_rival_matches_f64,
    masks_biases_caps_and_segments_hide_and_shift,
    queries_that_see_nothing_give_zeros,
    half_precision_is_stored_and_f32_computed,
    nan_stays_where_it_is_seen,
    invalid_calls_say_so,
    ; bf16: bf16_is_rounded_to_nearest,
}
