//! Which kernel a library ran, from what it reports about itself.

/// Names of kernels and instruction sets in the reports of oneDNN (`ONEDNN_VERBOSE`) and MKL (`MKL_VERBOSE`).
///
/// oneDNN: `onednn_verbose,v1,primitive,exec,cpu,matmul,brg_matmul:avx512_core,..`, or without the version; the
/// implementation is the field after the primitive's kind. MKL: `MKL_VERBOSE oneMKL .. for .. AVX2 ..` once, and
/// `MKL_VERBOSE SGEMM(T,N,..) ..` for a call.
pub fn describe_kernel<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let mut found = Vec::<String>::new();
    for line in lines {
        let name = match line.strip_prefix("MKL_VERBOSE ") {
            Some(report) => describe_mkl(report),
            None if line.starts_with("onednn_verbose") => describe_onednn(line),
            None => None,
        };
        found.extend(name.filter(|name| !found.contains(name)));
    }
    match found.is_empty() {
        true => "PyTorch's own loops (neither MKL nor oneDNN reported a call)".into(),
        false => found.join(", "),
    }
}

fn describe_mkl(report: &str) -> Option<String> {
    match report.split_once('(') {
        Some((routine, _)) if routine.chars().all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit()) => {
            Some(format!("MKL {routine}"))
        }
        // The banner: which instructions it was built for this process to use.
        _ => {
            let (_, processor) = report.split_once("architecture ")?;
            let set = processor.split(" enabled").next()?.split(", ").next()?.trim();
            // What it says on processors of others: it chooses for itself and MKL_ENABLE_INSTRUCTIONS changes nothing.
            let unnamed =
                if set == "Intel(R) Architecture processors" { " (no set named: it may ignore its limit)" } else { "" };
            Some(format!("MKL for {set}{unnamed}"))
        }
    }
}

fn describe_onednn(line: &str) -> Option<String> {
    let fields: Vec<&str> = line.split(',').collect();
    let exec = fields.iter().position(|field| *field == "exec")?;
    let (kind, implementation) = (fields.get(exec + 2)?, fields.get(exec + 3)?);
    Some(format!("oneDNN {kind} {implementation}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_both_libraries() {
        let lines = [
            "MKL_VERBOSE oneMKL 2024.0 Update 2 Product build 20240605 for Intel(R) 64 architecture Intel(R) Advanced Vector \
             Extensions 2 (Intel(R) AVX2) enabled processors, Lnx 2.60GHz lp64 gnu_thread",
            "MKL_VERBOSE SGEMM(T,N,2048,512,2048,0x7ff,..) 20.1ms CNR:OFF Dyn:1 FastMM:1 TID:0  NThr:2",
            "onednn_verbose,v1,info,cpu,runtime:OpenMP,nthr:2",
            "onednn_verbose,v1,primitive,exec,cpu,matmul,brg_matmul:avx512_core_bf16,undef,src:bf16,,,,512x2048:2048x2048,9.4",
            "onednn_verbose,v1,primitive,exec,cpu,matmul,brg_matmul:avx512_core_bf16,undef,src:bf16,,,,512x2048:2048x2048,9.1",
        ];
        let text = describe_kernel(lines.into_iter());
        assert_eq!(
            text,
            "MKL for Intel(R) Advanced Vector Extensions 2 (Intel(R) AVX2), MKL SGEMM, \
             oneDNN matmul brg_matmul:avx512_core_bf16"
        );
        assert_eq!(
            describe_kernel(["noise"].into_iter()),
            "PyTorch's own loops (neither MKL nor oneDNN reported a call)"
        );
    }
}
