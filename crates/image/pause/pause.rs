//! The process that holds a pod's namespaces open: it waits for ever, reaps orphans, and ends on SIGTERM or SIGINT.
//!
//! No standard library and no libc, so that the image is a few kilobytes and runs on any kernel. All signals are blocked and then
//! waited for, which needs no handler. Built by the crate's build script; it is a program of its own, not part of the crate.
#![no_std]
#![no_main]

use core::arch::asm;

#[cfg(target_arch = "x86_64")]
mod number {
    pub const SIGPROCMASK: usize = 14;
    pub const SIGTIMEDWAIT: usize = 128;
    pub const WAIT4: usize = 61;
    pub const EXIT_GROUP: usize = 231;
}

#[cfg(target_arch = "aarch64")]
mod number {
    pub const SIGPROCMASK: usize = 135;
    pub const SIGTIMEDWAIT: usize = 137;
    pub const WAIT4: usize = 260;
    pub const EXIT_GROUP: usize = 94;
}

const SIG_BLOCK: usize = 0;
const SIGINT: isize = 2;
const SIGTERM: isize = 15;
const SIGCHLD: isize = 17;
const ANY_CHILD: usize = usize::MAX;
const WNOHANG: usize = 1;
const SET_BYTES: usize = 8;

#[cfg(target_arch = "x86_64")]
fn syscall(number: usize, arguments: [usize; 4]) -> isize {
    let result: isize;
    // SAFETY: the four calls made here read at most the eight bytes of a live signal set.
    unsafe {
        asm!("syscall", inlateout("rax") number => result,
            in("rdi") arguments[0], in("rsi") arguments[1], in("rdx") arguments[2], in("r10") arguments[3],
            lateout("rcx") _, lateout("r11") _);
    }
    result
}

#[cfg(target_arch = "aarch64")]
fn syscall(number: usize, arguments: [usize; 4]) -> isize {
    let result: isize;
    // SAFETY: as above.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") arguments[0] => result,
            in("x1") arguments[1], in("x2") arguments[2], in("x3") arguments[3]);
    }
    result
}

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    let all: u64 = u64::MAX;
    let set = &raw const all as usize;
    syscall(number::SIGPROCMASK, [SIG_BLOCK, set, 0, SET_BYTES]);
    loop {
        match syscall(number::SIGTIMEDWAIT, [set, 0, 0, SET_BYTES]) {
            SIGINT | SIGTERM => {
                syscall(number::EXIT_GROUP, [0; 4]);
            }
            SIGCHLD => while syscall(number::WAIT4, [ANY_CHILD, 0, WNOHANG, 0]) > 0 {},
            _ => {}
        }
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
