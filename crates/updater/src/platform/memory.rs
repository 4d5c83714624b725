//! Memory that was needed for a moment goes back to the system: the service waits nearly all the time, and should be small then.

/// Few arenas and early returns. To be called first thing, while there is one thread.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "mallopt(3) takes numbers only")]
pub fn prefer_small_memory() {
    // SAFETY: two integers, and no other thread allocates yet. A value that is refused changes nothing.
    unsafe {
        // Otherwise each thread gets an arena of its own, which keeps what it once had.
        libc::mallopt(libc::M_ARENA_MAX, 1);
        // Bytes; a free top above this goes back at once. Setting it also ends glibc's own raising of the next one.
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 * 1024);
        // Bytes; larger pieces are mapped on their own, and unmapped when they are freed.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 64 * 1024);
    }
}

/// Gives back what is free now.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "malloc_trim(3) takes a number only")]
pub fn give_memory_back() {
    // SAFETY: one integer; the allocator locks itself. That nothing could be given back is no error.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn prefer_small_memory() {}

/// Other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_memory_back() {}
