//! Writes `benches/record/sm61.md`: a decoder layer of the 2B model on SM61, on paper.

use burn_cubecl::CubeBackend;
use burn_kiln::Kiln;
use burn_kiln_fusion::cube::cuda_text::{OfflineCuda, ResourceError, find_resources};
use kiln_benches::sm61::{
    layer::{Pass, record},
    record::{HEAD, add, render},
    stream,
};
use std::path::Path;
use std::process::ExitCode;

type Plain = CubeBackend<OfflineCuda, f32, i32, u8>;

/// Passes of the record, and their titles.
const PASSES: [(&str, Pass); 2] = [
    ("Decode: one token after 1,024", Pass { rows: 1, past: 1024 }),
    ("Prefill: 512 tokens", Pass { rows: 512, past: 0 }),
];

fn main() -> ExitCode {
    match write() {
        Ok(path) => {
            println!("wrote {path}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn write() -> Result<String, String> {
    let mut text = HEAD.to_owned();
    for (title, pass) in PASSES {
        let (kiln, plain) = (record::<Kiln<Plain>>(pass), record::<Plain>(pass));
        let (ours, theirs) = (add(&kiln, pass), add(&plain, pass));
        println!("{title}: {} launches a layer with Kiln, {} with plain Burn", ours.launches, theirs.launches);
        println!("    {:.1} MB and {:.1} MB", ours.bytes / 1e6, theirs.bytes / 1e6);
        let used = find_resources(&kiln).map_err(|error: ResourceError| error.to_string())?;
        let kiln: Vec<_> = kiln.into_iter().zip(used).collect();
        text += &render(title, pass, &kiln, &plain);
    }
    text += &stream::render();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("record/sm61.md");
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok("benches/record/sm61.md".to_owned())
}
