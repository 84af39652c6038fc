//! Where the arrays of a kernel lie in shared memory.

/// CubeCL gives shared arrays their places in the order of a hash set, so that a kernel differs from process to
/// process, in registers too. This gives them places in the order of their numbers. Arrays that share a place, or that
/// find no room so, stay where they are.
pub(super) fn place_shared_arrays(source: &str, shared_bytes: usize) -> String {
    let lines: Vec<&str> = source.lines().collect();
    let found: Vec<usize> = (0..lines.len()).filter(|&i| lines[i].starts_with("// Shared array size: ")).collect();
    let arrays: Option<Vec<Array>> = found.iter().map(|&i| Array::parse(lines[i], lines.get(i + 1)?)).collect();
    let Some(mut arrays) = arrays.filter(|arrays| !arrays.is_empty() && are_apart(arrays)) else {
        return source.to_owned();
    };
    arrays.sort_by_key(|array| array.number);
    let mut end = 0;
    for array in &mut arrays {
        // An array of vectors has a whole number of them.
        let alignment = 1 << array.bytes.trailing_zeros().min(MAX_ALIGNMENT.ilog2());
        array.offset = usize::next_multiple_of(end, alignment);
        end = array.offset + array.bytes;
    }
    if end > shared_bytes {
        return source.to_owned();
    }
    let mut placed: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
    for (&at, array) in found.iter().zip(&arrays) {
        placed[at] = array.comment.to_owned();
        placed[at + 1] = format!("{}{}]);", array.start, array.offset);
    }
    placed.join("\n")
}

/// The widest vector that a unit loads at once.
const MAX_ALIGNMENT: usize = 16;

/// `// Shared array size: LENGTH, BYTES bytes` and `TYPE *shared_memory_NUMBER =
/// reinterpret_cast<TYPE*>(&dynamic_shared_mem[OFFSET]);`.
struct Array<'a> {
    comment: &'a str,
    start: &'a str,
    number: usize,
    bytes: usize,
    offset: usize,
}

impl<'a> Array<'a> {
    fn parse(comment: &'a str, declaration: &'a str) -> Option<Self> {
        let bytes = comment.strip_suffix(" bytes")?.rsplit(' ').next()?.parse().ok()?;
        let number = declaration.split_once("*shared_memory_")?.1.split(' ').next()?.parse().ok()?;
        let bracket = declaration.rfind('[')? + 1;
        let offset = declaration[bracket..].strip_suffix("]);")?.parse().ok()?;
        Some(Self { comment, start: &declaration[..bracket], number, bytes, offset })
    }
}

fn are_apart(arrays: &[Array<'_>]) -> bool {
    let apart = |a: &Array<'_>, b: &Array<'_>| a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset;
    arrays.iter().enumerate().all(|(i, a)| arrays[..i].iter().all(|b| apart(a, b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declare(number: usize, bytes: usize, offset: usize) -> String {
        let size = bytes / 4;
        let place = format!("reinterpret_cast<float*>(&dynamic_shared_mem[{offset}])");
        format!("// Shared array size: {size}, {bytes} bytes\nfloat *shared_memory_{number} = {place};\n")
    }

    #[test]
    fn arrays_lie_in_the_order_of_their_numbers() {
        let either = [declare(7, 64, 512), declare(3, 512, 0)].concat() + "x";
        let other = [declare(3, 512, 64), declare(7, 64, 0)].concat() + "x";
        let expected = [declare(3, 512, 0), declare(7, 64, 512)].concat() + "x";
        assert_eq!(place_shared_arrays(&either, 576), expected);
        assert_eq!(place_shared_arrays(&other, 576), expected);
    }

    #[test]
    fn arrays_of_one_place_stay() {
        let shared = [declare(7, 64, 0), declare(3, 64, 0)].concat() + "x";
        assert_eq!(place_shared_arrays(&shared, 64), shared);
        let tight = [declare(7, 64, 4), declare(3, 4, 0)].concat() + "x";
        assert_eq!(place_shared_arrays(&tight, 68), tight);
    }
}
