//! Benchmarks of Kiln: `cargo bench -p kiln-benches` compares Burn's ops on `Kiln<Flex>` and on plain `Flex` in one run.
