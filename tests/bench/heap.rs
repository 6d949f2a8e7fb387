//! The one call that gives back to the system what was freed, so that resident memory tells what is in use.
#![expect(unsafe_code, reason = "the standard library has no such call")]

/// Gives back every page that holds nothing (malloc_trim(3)).
pub fn trim() {
    // SAFETY: the call takes no pointer, is safe in threads, and frees nothing that is in use.
    unsafe { libc::malloc_trim(0) };
}
