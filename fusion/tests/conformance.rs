//! The default compositions, their gradients and the nodes on the tape, against the `f64` reference.

use burn_kiln_fusion::conformance::Suite;

/// One test an op, for one suite.
macro_rules! check_ops {
    ($suite:expr; $($op:ident)*) => {
        $(
            #[test]
            fn $op() {
                burn_kiln_fusion::conformance::$op::check(&$suite);
            }
        )*
    };
}

mod flex {
    use super::*;
    use burn_flex::Flex;

    check_ops!(Suite::<Flex>::new(Default::default()).with_half_weights();
        linear norm activation mlp moe rope embedding attention attention_rotary cache loss optim);
}

mod ndarray {
    use super::*;
    use burn_ndarray::NdArray;

    // No half precision: NdArray has none.
    check_ops!(Suite::<NdArray<f32>>::new(Default::default());
        linear norm activation mlp moe rope embedding attention attention_rotary cache loss optim);
}
