//! `OptimizationConfig`: files, presets, and values that are refused.

use burn_kiln::{ConfigError, OptimizationConfig};
use burn_kiln_fusion::KernelConfig;
use burn_kiln_fusion::config::IsaChoice;
use std::io::Write;

fn presets() -> [OptimizationConfig; 3] {
    [OptimizationConfig::detect(), OptimizationConfig::i5_10210u(), OptimizationConfig::none()]
}

#[test]
fn presets_survive_both_formats() {
    for config in presets() {
        config.validate().unwrap();
        assert_eq!(OptimizationConfig::from_toml(&config.to_toml()).unwrap(), config);
        assert_eq!(OptimizationConfig::from_json(&serde_json::to_string(&config).unwrap()).unwrap(), config);
    }
    assert_eq!(OptimizationConfig::from_toml("").unwrap(), OptimizationConfig::detect());
    assert_eq!(OptimizationConfig::none().kernels(), KernelConfig::none());
    assert_eq!(OptimizationConfig::detect().kernels(), KernelConfig::default());
}

#[test]
fn sections_are_read() {
    let config = OptimizationConfig::from_toml(
        "deterministic = true\n[simd]\nisa = \"avx2\"\n[threads]\nmax = 3\n[fusion]\nmlp = false\n[pool]\ncap = \"512 MiB\"\n\
         [streaming]\nmemory_limit = 2147483648\n[gpu]\ntune = true\nmemory_limit = \"2 GiB\"\n",
    )
    .unwrap();
    assert_eq!(config.simd.isa, IsaChoice::Avx2);
    assert_eq!((config.threads.max, config.deterministic, config.fusion.mlp), (Some(3), true, false));
    assert_eq!(config.pool.cap.map(|cap| cap.as_u64()), Some(512 << 20));
    assert_eq!(config.streaming.memory_limit.map(|limit| limit.as_u64()), Some(2 << 30));
    assert_eq!(config.gpu.memory_limit.map(|limit| limit.as_u64()), Some(2 << 30));
    assert!(config.gpu.enabled && config.gpu.tune && config.kernels().gpu.tune);
}

#[test]
fn values_out_of_range_name_their_field() {
    let cases = [
        ("[tiling]\nkc = 0", "tiling.kc"),
        ("[tiling]\nmc = 1000000", "tiling.mc"),
        ("[tiling]\nnc = 65537", "tiling.nc"),
        ("[tiling]\nattention_q = 0", "tiling.attention_q"),
        ("[tiling]\nattention_k = 100000", "tiling.attention_k"),
        ("[prefetch]\ndistance = 100000000", "prefetch.distance"),
        ("[blocking]\nrows = 100", "blocking.rows"),
        ("[threads]\nmax = 0", "threads.max"),
        ("[streaming]\nmemory_limit = \"0 KiB\"", "streaming.memory_limit"),
        ("[gpu]\nmemory_limit = 0", "gpu.memory_limit"),
    ];
    for (text, field) in cases {
        let error = OptimizationConfig::from_toml(text).unwrap_err();
        assert!(matches!(error, ConfigError::Value { field: named, .. } if named == field), "{text}: {error}");
        assert!(error.to_string().contains("expected"), "{error}");
    }
}

#[test]
fn text_that_is_no_configuration() {
    let wrong = [
        "tiling = 3",
        "[gpu]\ncard = 1",
        "[tilings]\n",
        "[simd]\nisa = \"sse9\"",
        "[threads]\nmax = -1",
        "[pool]\ncap = \"many\"",
        "][",
    ];
    for text in wrong {
        assert!(matches!(OptimizationConfig::from_toml(text), Err(ConfigError::Toml { .. })), "{text}");
    }
    for text in ["", "[1]", "{\"simd\": 1}", "{\"turbo\": true}", "{\"threads\": {\"max\": 1e99}}"] {
        assert!(matches!(OptimizationConfig::from_json(text), Err(ConfigError::Json { .. })), "{text}");
    }
}

#[test]
fn files() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
        path
    };
    let toml = write("a.toml", OptimizationConfig::i5_10210u().to_toml().as_bytes());
    assert_eq!(OptimizationConfig::from_file(toml).unwrap(), OptimizationConfig::i5_10210u());
    let json = write("b.JSON", b"{\"deterministic\": true}");
    assert!(OptimizationConfig::from_file(json).unwrap().deterministic);

    let missing = OptimizationConfig::from_file(folder.path().join("none.toml")).unwrap_err();
    assert!(matches!(&missing, ConfigError::Read { .. }) && missing.to_string().contains("none.toml"), "{missing}");
    assert!(matches!(OptimizationConfig::from_file(write("c.yaml", b"")), Err(ConfigError::Format { .. })));
    assert!(matches!(OptimizationConfig::from_file(write("d.toml", b"\xff\xfe")), Err(ConfigError::Read { .. })));
    let large = write("e.toml", "# comment\n".repeat(200_000).as_bytes());
    assert!(matches!(OptimizationConfig::from_file(large), Err(ConfigError::Size { .. })));
    assert!(matches!(
        OptimizationConfig::from_file(folder.path().join("f.toml/g.toml")),
        Err(ConfigError::Read { .. })
    ));
    let named = OptimizationConfig::from_file(write("h.toml", b"[tiling]\nkc = \"x\"")).unwrap_err();
    assert!(named.to_string().contains("h.toml"), "{named}");
}
