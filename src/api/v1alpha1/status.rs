//! What the operator observed, the same on every kind.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What was observed of an object. Never depends on the time of day, and holds no counter that moves with each call.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The `metadata.generation` that `conditions` speak of. Absent: not seen yet.
    #[schemars(range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The generation that calls follow. Behind `observedGeneration` while the last good form is kept.
    #[schemars(range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub programmed_generation: Option<i64>,

    /// `Accepted` (the object itself is right), `ResolvedRefs` (all it refers to exists and admits it), `Programmed`
    /// (every pod that must know it has it), and `Ready`, their summary. At most 8.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[schemars(length(max = 8))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
