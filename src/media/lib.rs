//! The media server's shell: ports, workers, prompts, recordings.
