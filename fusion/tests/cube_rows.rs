//! Kernels over rows and elements on Vulkan and as CUDA text, against f64: see `cube_vulkan.rs`.

mod cube_checks;
mod cube_device;

cube_device::test_on_devices! {
    rows:
    layer_norm_matches_f64,
    layer_norm_keeps_small_deviations_from_large_means,
    add_norm_matches_f64,
    add_norm_reads_padded_rows_in_place,
    softmax_matches_f64,
    softmax_takes_hidden_huge_and_nan_scores,
    softmax_reads_strided_operands_and_takes_none,
    activations_match_f64,
    activations_take_extremes_and_nothing,
    invalid_calls_say_so,
    ; bf16: layer_norm_matches_f64, add_norm_matches_f64, softmax_matches_f64, activations_match_f64,
}

cube_device::test_on_devices! {
    heads:
    queries_keys_and_values_are_placed_in_one_launch,
    plain_rotary_embedding_shares_angles,
    invalid_calls_say_so,
    ; bf16: bf16_is_rounded_to_nearest,
}
