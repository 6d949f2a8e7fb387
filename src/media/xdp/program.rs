//! The program that the kernel runs for every frame of an interface, assembled by hand.
//!
//! It sends UDP packets for one of our ports to the socket of the queue they came by, if that queue is the port's. All
//! else passes: VLANs, fragments, IP options, extension headers, other ports and protocols, long packets, and packets of
//! ports whose worker reads another queue, which thus come by the plain socket.

/// Octets of a key of the map of ports: the address (IPv4 as IPv4-mapped), the port in network order, two of nothing.
pub const KEY: usize = 20;
/// Frames longer than this pass.
pub const FRAME_MAX: i16 = 1_600;

/// Map of type hash: [`KEY`] octets to the number of a queue.
const PORTS: u8 = 1;
const XDP_PASS: i32 = 2;
const MAP_LOOKUP: i32 = 1;
const REDIRECT_MAP: i32 = 51;

/// Operation codes (linux/bpf_common.h, linux/bpf.h).
mod op {
    pub const LOAD_8: u8 = 0x71;
    pub const LOAD_16: u8 = 0x69;
    pub const LOAD_32: u8 = 0x61;
    pub const STORE_32: u8 = 0x63;
    pub const STORE_IMM_32: u8 = 0x62;
    pub const STORE_IMM_64: u8 = 0x7a;
    pub const LOAD_IMM_64: u8 = 0x18;
    pub const MOVE: u8 = 0xbf;
    pub const MOVE_IMM: u8 = 0xb7;
    pub const ADD_IMM: u8 = 0x07;
    pub const AND_IMM: u8 = 0x57;
    pub const JUMP: u8 = 0x05;
    pub const JUMP_IF_EQUAL_IMM: u8 = 0x15;
    pub const JUMP_UNLESS_EQUAL_IMM: u8 = 0x55;
    pub const JUMP_UNLESS_EQUAL: u8 = 0x5d;
    pub const JUMP_IF_GREATER: u8 = 0x2d;
    pub const JUMP_IF_LESS: u8 = 0xad;
    pub const CALL: u8 = 0x85;
    pub const EXIT: u8 = 0x95;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    Six,
    Look,
    Pass,
}

#[derive(Debug, Default)]
struct Assembler {
    code: Vec<u64>,
    jumps: Vec<(usize, Label)>,
    labels: Vec<(Label, usize)>,
}

/// As it lies in memory, on machines of either byte order.
const fn encode(op: u8, target: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    let registers = if cfg!(target_endian = "little") { source << 4 | target } else { target << 4 | source };
    let [a, b] = offset.to_ne_bytes();
    let [c, d, e, f] = immediate.to_ne_bytes();
    u64::from_ne_bytes([op, registers, a, b, c, d, e, f])
}

impl Assembler {
    fn put(&mut self, op: u8, target: u8, source: u8, offset: i16, immediate: i32) {
        self.code.push(encode(op, target, source, offset, immediate));
    }

    fn jump(&mut self, op: u8, target: u8, source: u8, immediate: i32, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.put(op, target, source, 0, immediate);
    }

    fn label(&mut self, label: Label) {
        self.labels.push((label, self.code.len()));
    }

    fn map(&mut self, register: u8, fd: i32) {
        self.put(op::LOAD_IMM_64, register, PORTS, 0, fd);
        self.put(0, 0, 0, 0, 0);
    }

    fn finish(mut self) -> Vec<u64> {
        for (at, to) in self.jumps {
            let Some(&(_, place)) = self.labels.iter().find(|&&(label, _)| label == to) else { continue };
            let [code, registers, _, _, c, d, e, f] = self.code[at].to_ne_bytes();
            let [a, b] = (place as i16 - at as i16 - 1).to_ne_bytes();
            self.code[at] = u64::from_ne_bytes([code, registers, a, b, c, d, e, f]);
        }
        self.code
    }
}

/// A number as a load of two octets shows it that lie there in network order.
const fn network(value: u16) -> i32 {
    value.to_be() as i32
}

/// The program over these two maps: of ports, and of queues' sockets (an XSKMAP).
pub fn redirect(ports: i32, sockets: i32) -> Vec<u64> {
    use Label::{Look, Pass, Six};
    // r6: context. r2, r3: the frame's begin and end. The key lies at r10 - 24.
    let mut asm = Assembler::default();
    asm.put(op::MOVE, 6, 1, 0, 0);
    asm.put(op::LOAD_32, 2, 6, 0, 0);
    asm.put(op::LOAD_32, 3, 6, 4, 0);
    asm.put(op::MOVE, 4, 2, 0, 0);
    asm.put(op::ADD_IMM, 4, 0, 0, i32::from(FRAME_MAX));
    asm.jump(op::JUMP_IF_LESS, 4, 3, 0, Pass);
    asm.put(op::MOVE, 4, 2, 0, 0);
    asm.put(op::ADD_IMM, 4, 0, 0, 42);
    asm.jump(op::JUMP_IF_GREATER, 4, 3, 0, Pass);
    asm.put(op::LOAD_16, 5, 2, 12, 0);
    asm.jump(op::JUMP_IF_EQUAL_IMM, 5, 0, network(0x86dd), Six);
    asm.jump(op::JUMP_UNLESS_EQUAL_IMM, 5, 0, network(0x0800), Pass);
    asm.put(op::LOAD_8, 5, 2, 14, 0);
    asm.jump(op::JUMP_UNLESS_EQUAL_IMM, 5, 0, 0x45, Pass);
    asm.put(op::LOAD_16, 5, 2, 20, 0);
    asm.put(op::AND_IMM, 5, 0, 0, network(0x3fff));
    asm.jump(op::JUMP_UNLESS_EQUAL_IMM, 5, 0, 0, Pass);
    asm.put(op::LOAD_8, 5, 2, 23, 0);
    asm.jump(op::JUMP_UNLESS_EQUAL_IMM, 5, 0, 17, Pass);
    asm.put(op::STORE_IMM_64, 10, 0, -24, 0);
    asm.put(op::STORE_IMM_32, 10, 0, -16, i32::from_ne_bytes([0, 0, 0xff, 0xff]));
    asm.put(op::LOAD_32, 5, 2, 30, 0);
    asm.put(op::STORE_32, 10, 5, -12, 0);
    asm.put(op::LOAD_16, 5, 2, 36, 0);
    asm.jump(op::JUMP, 0, 0, 0, Look);
    asm.label(Six);
    asm.put(op::MOVE, 4, 2, 0, 0);
    asm.put(op::ADD_IMM, 4, 0, 0, 62);
    asm.jump(op::JUMP_IF_GREATER, 4, 3, 0, Pass);
    asm.put(op::LOAD_8, 5, 2, 20, 0);
    asm.jump(op::JUMP_UNLESS_EQUAL_IMM, 5, 0, 17, Pass);
    for part in 0..4 {
        asm.put(op::LOAD_32, 5, 2, 38 + 4 * part, 0);
        asm.put(op::STORE_32, 10, 5, 4 * part - 24, 0);
    }
    asm.put(op::LOAD_16, 5, 2, 56, 0);
    asm.label(Look);
    // The port's two octets stand before two of nothing, whatever the byte order.
    if cfg!(target_endian = "big") {
        asm.put(0x67, 5, 0, 0, 16);
    }
    asm.put(op::STORE_32, 10, 5, -8, 0);
    asm.put(op::MOVE, 2, 10, 0, 0);
    asm.put(op::ADD_IMM, 2, 0, 0, -24);
    asm.map(1, ports);
    asm.put(op::CALL, 0, 0, 0, MAP_LOOKUP);
    asm.jump(op::JUMP_IF_EQUAL_IMM, 0, 0, 0, Pass);
    asm.put(op::LOAD_32, 5, 0, 0, 0);
    asm.put(op::LOAD_32, 2, 6, 16, 0);
    asm.jump(op::JUMP_UNLESS_EQUAL, 5, 2, 0, Pass);
    asm.map(1, sockets);
    asm.put(op::MOVE_IMM, 3, 0, 0, XDP_PASS);
    asm.put(op::CALL, 0, 0, 0, REDIRECT_MAP);
    asm.put(op::EXIT, 0, 0, 0, 0);
    asm.label(Pass);
    asm.put(op::MOVE_IMM, 0, 0, 0, XDP_PASS);
    asm.put(op::EXIT, 0, 0, 0, 0);
    asm.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_jump_lands_on_an_instruction_and_the_end_is_an_exit() {
        let code = redirect(7, 8);
        assert_eq!(code.last(), Some(&encode(op::EXIT, 0, 0, 0, 0)));
        for (at, instruction) in code.iter().enumerate() {
            let [code_of, _, a, b, ..] = instruction.to_ne_bytes();
            let jumps = code_of & 7 == 5 && ![op::CALL, op::EXIT].contains(&code_of);
            if jumps {
                let to = at as i64 + 1 + i64::from(i16::from_ne_bytes([a, b]));
                assert!(to > at as i64 + 1 && (to as usize) < code.len(), "{at} to {to}");
                assert_ne!(code[to as usize], 0, "the second half of a load");
            }
        }
    }
}
