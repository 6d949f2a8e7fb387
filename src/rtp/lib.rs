//! RTP without I/O: packets, RTCP, DTMF, G.711, jitter, resampling.
