//! The custom resources of switchboard.dev/v1alpha1.
