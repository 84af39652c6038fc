//! Numbers of the CubeCL matrix products and embeddings against f64, on Vulkan and as CUDA text.

mod cube_checks;
mod cube_device;

cube_device::test_on_devices! {
    products:
    few_rows_match_f64,
    tiles_match_f64,
    every_rival_matches_f64,
    epilogues_match_f64,
    gated_products_match_f64,
    norms_before_several_layers_match_f64,
    half_precision_is_stored_and_computed_in_f32,
    operands_are_read_where_they_lie,
    plain_products_match_f64,
    nan_stays_in_its_row_and_column,
    empty_products_are_empty,
    invalid_calls_say_so_with_their_shapes,
    ; bf16: half_precision_is_stored_and_computed_in_f32,
}

cube_device::test_on_devices! {
    embedding:
    gathers_rows_as_f32,
    reads_padded_tables_in_place,
    rows_of_missing_ids_are_nan,
    invalid_calls_say_so,
}

cube_device::test_on_devices! {
    int8:
    rows_are_quantized_to_half_a_scale,
    int8_products_match_f64,
}
