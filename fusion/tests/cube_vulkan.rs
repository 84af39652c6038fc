//! Numbers of the RMS norm against f64, and rounding to what buffers store against the `half` crate, on Vulkan and as
//! CUDA text. A software driver (Mesa's lavapipe) will do for the former: it is an independent compiler with planes of
//! 8, so a kernel that assumes warps of 32 fails there.

mod cube_checks;
mod cube_device;

cube_device::test_on_devices! {
    rms_norm:
    matches_f64_at_every_size,
    stores_half_precision_and_computes_in_f32,
    covers_more_rows_than_one_dimension_of_cubes,
    reads_strided_operands_and_keeps_leading_dimensions,
    reads_padded_rows_in_place,
    handles_rows_of_zeros_and_of_nan_apart,
    of_no_rows_is_empty,
    invalid_calls_say_so_with_their_shapes,
    planes_of_another_length_are_unavailable,
    ; bf16: stores_half_precision_and_computes_in_f32,
}

cube_device::test_on_devices! {
    store:
    rounded_f32s_are_the_bf16s_of_half,
    stored_bf16s_are_those_of_half,
    stored_f16s_are_those_of_half,
    ; bf16: stored_bf16s_are_those_of_half,
}
