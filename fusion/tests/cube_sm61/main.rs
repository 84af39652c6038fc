//! The kernels compile for SM61 (Pascal) and fit it. No GPU is needed: CubeCL writes the CUDA C++ that it would give to
//! a card of compute capability 6.1, and NVIDIA's compilers translate it (`fusion/sm61/compile.py`).
//!
//! A new kernel gets a file with its cases, and a line in `list_cases`.

mod attention;
mod case;
mod products;
mod rows;
mod table;

use burn_kiln_fusion::cube::cuda_text::{ResourceError, find_resources};
use case::Cases;
use std::io::Write;

fn list_cases() -> Cases {
    let mut cases = Cases::default();
    rows::add(&mut cases);
    attention::add(&mut cases);
    products::add(&mut cases);
    cases
}

#[test]
fn kernels_fit_sm61_as_recorded() {
    let Cases(cases) = list_cases();
    let launches: Vec<_> = cases.iter().map(|case| case.launch.clone()).collect();
    let resources = match find_resources(&launches) {
        Ok(resources) => resources,
        Err(ResourceError::Missing(what)) => {
            assert_ne!(std::env::var("KILN_REQUIRE_GPU").as_deref(), Ok("1"), "{what}");
            // Not `eprintln`, which the test harness would swallow.
            std::io::stderr().write_all(format!("skipped: {what}\n").as_bytes()).unwrap();
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let rows: Vec<_> = cases.iter().zip(resources).collect();
    rows.iter().for_each(|(case, used)| table::check_demands(case, used));
    table::check(&rows);
}
