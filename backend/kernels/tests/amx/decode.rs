//! Decoding of AMX instructions: VEX prefix, opcode, ModRM and SIB (Intel SDM, volume 2, 2.3 and the pages of the
//! instructions).

/// Where a tile lies in memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TileMemory {
    /// Address of the first row.
    pub start: usize,
    /// Bytes between rows.
    pub stride: usize,
}

/// An instruction with its operands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Op {
    LoadConfig(*const u8),
    StoreConfig(*mut u8),
    Release,
    Zero(usize),
    Load(usize, TileMemory),
    Store(usize, TileMemory),
    Dot { c: usize, a: usize, b: usize },
}

/// An instruction and its length in bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decoded {
    pub op: Op,
    pub len: usize,
}

/// Where `gregs` holds each general register, by its number in instructions.
const REGISTERS: [libc::c_int; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

/// The instruction at `code`, if it is one of AMX with bf16.
///
/// # Safety
/// `code` is readable as far as the instruction goes.
pub unsafe fn decode(code: *const u8, registers: &[libc::greg_t]) -> Option<Decoded> {
    // SAFETY: the caller's promise; bytes are read one after the other, no further than the encoding says.
    let byte = |at: usize| unsafe { code.add(at).read() };
    // Three-byte VEX, map 0F38, W0, 128 bits: all of them.
    if byte(0) != 0xc4 || byte(1) & 0x1f != 2 || byte(2) & 0x84 != 0 {
        return None;
    }
    let prefix = byte(2) & 3;
    let third = usize::from(!byte(2) >> 3 & 15);
    let (opcode, modrm) = (byte(3), byte(4));
    let (mode, reg, rm) = (modrm >> 6, usize::from(modrm >> 3 & 7), usize::from(modrm & 7));
    // Tiles and no fourth bit of their number.
    let high = !byte(1);
    let in_registers = mode == 3;
    let op = |op| Some(Decoded { op, len: 5 });
    const NONE: u8 = 0;
    const P66: u8 = 1;
    const PF3: u8 = 2;
    const PF2: u8 = 3;
    match (opcode, prefix, in_registers) {
        (0x49, NONE, true) if (reg, rm, third) == (0, 0, 0) => return op(Op::Release),
        (0x49, PF2, true) if (rm, third) == (0, 0) && high & 0x80 == 0 => return op(Op::Zero(reg)),
        (0x5c, PF3, true) if third < 8 && high & 0xa0 == 0 => return op(Op::Dot { c: reg, a: rm, b: third }),
        _ if in_registers || third != 0 => return None,
        _ => {}
    }
    let address = Address::decode(&byte, mode, rm, high, registers)?;
    let (start, len) = (address.base.wrapping_add(address.displacement), address.len);
    let memory = TileMemory { start, stride: address.index };
    let op = match (opcode, prefix) {
        (0x49, NONE) if reg == 0 => Op::LoadConfig(start.wrapping_add(address.index) as *const u8),
        (0x49, P66) if reg == 0 => Op::StoreConfig(start.wrapping_add(address.index) as *mut u8),
        (0x4b, P66 | PF2) if rm == 4 && high & 0x80 == 0 => Op::Load(reg, memory),
        (0x4b, PF3) if rm == 4 && high & 0x80 == 0 => Op::Store(reg, memory),
        _ => return None,
    };
    Some(Decoded { op, len })
}

/// A memory operand.
struct Address {
    base: usize,
    /// Scaled.
    index: usize,
    displacement: usize,
    /// Bytes of the instruction.
    len: usize,
}

impl Address {
    /// From the byte after ModRM on; `high` has the inverted R, X and B of VEX in its top bits.
    fn decode(byte: &impl Fn(usize) -> u8, mode: u8, rm: usize, high: u8, registers: &[libc::greg_t]) -> Option<Self> {
        let register = |number: usize| registers[REGISTERS[number] as usize] as usize;
        let (index_high, base_high) = (usize::from(high >> 6 & 1) << 3, usize::from(high >> 5 & 1) << 3);
        let long =
            |at: usize| i32::from_le_bytes([byte(at), byte(at + 1), byte(at + 2), byte(at + 3)]) as isize as usize;
        let (mut base, mut index, mut at) = (Some(rm | base_high), 0, 5);
        if rm == 4 {
            let sib = byte(5);
            at = 6;
            let number = usize::from(sib >> 3 & 7) | index_high;
            if number != 4 {
                index = register(number) << (sib >> 6);
            }
            base = (mode != 0 || sib & 7 != 5).then_some(usize::from(sib & 7) | base_high);
        } else if rm == 5 && mode == 0 {
            let end = registers[libc::REG_RIP as usize] as usize + 9;
            return Some(Self { base: end, index: 0, displacement: long(5), len: 9 });
        }
        let (displacement, len) = match (mode, base) {
            (0, Some(_)) => (0, at),
            (1, _) => (byte(at) as i8 as isize as usize, at + 1),
            _ => (long(at), at + 4),
        };
        Some(Self { base: base.map_or(0, register), index, displacement, len })
    }
}
