//! `Prompt`: something that callers hear.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{ConfigMapKeyRef, LANGUAGE, Remote, Status};

/// Something that callers hear: a recording, or a text that is spoken.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "switchboard.dev",
    version = "v1alpha1",
    kind = "Prompt",
    doc = "Something that callers hear: a recording, or a text that is spoken.",
    namespaced,
    status = "Status",
    shortname = "prm",
    category = "switchboard",
    derive = "PartialEq",
    cel,
    printcolumn(name = "File", type_ = "string", json_path = ".spec.file"),
    printcolumn(name = "Language", type_ = "string", json_path = ".spec.text.language"),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Programmed')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("(has(self.file) ? 1 : 0) + (has(self.text) ? 1 : 0) + (has(self.remote) ? 1 : 0) + (has(self.configMapRef) ? 1 : 0) == 1")
        .message("spec must have exactly one of file, text, remote and configMapRef"))]
#[serde(rename_all = "camelCase")]
pub struct PromptSpec {
    /// An audio file, mono or stereo, by its path from the manifest's folder; `..` may not stand in it. WAV (PCM of 8 to 32
    /// bits, 32-bit float, or G.711) at 8 to 48 kHz, Opus in Ogg, or MP3; at most 32 MiB and an hour.
    /// `switchboard local` reads it; in a cluster there are no files beside a manifest. At most 255 characters.
    /// Example: `prompts/welcome.wav`.
    #[schemars(length(min = 1, max = 255), regex(pattern = PROMPT_FILE))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,

    /// A text to speak. Exactly one of `file`, `text`, `remote` and `configMapRef` stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Speech>,

    /// An audio file of the same kinds that media servers fetch, and keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Remote>,

    /// An audio file in the `binaryData` of a ConfigMap of this namespace, of the same kinds. In a cluster the ConfigMap must
    /// have the label `switchboard.dev/use: "true"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapKeyRef>,

    /// The same in other languages. A flow's String variable `language`, or else that of the flow that called it, says which one
    /// its contact hears: the translation into that language, else one into the same language of another region, else the
    /// prompt itself. At most 16.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["language".into()]))]
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub translations: Vec<Translation>,
}

/// A path of an audio file, relative and without a hidden part.
pub const PROMPT_FILE: &str =
    r"^([A-Za-z0-9_][-A-Za-z0-9_. ]*/)*[A-Za-z0-9_][-A-Za-z0-9_. ]*\.(wav|WAV|opus|ogg|mp3)$";

/// A text to speak.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Speech {
    /// The language's tag (BCP 47). Example: `en-US`.
    #[schemars(length(min = 2, max = 16), regex(pattern = LANGUAGE))]
    pub language: String,

    /// What to say. At most 4,096 characters. Example: `Welcome to Acme.`.
    #[schemars(length(min = 1, max = 4_096))]
    pub text: String,
}

/// A prompt in another language.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("(has(self.text) ? 1 : 0) + (has(self.file) ? 1 : 0) + (has(self.remote) ? 1 : 0) == 1")
        .message("a translation must have exactly one of text, file and remote"))]
#[serde(rename_all = "camelCase")]
pub struct Translation {
    /// The language's tag (BCP 47), one of the Tenant's `languages`. Unique in the list. Example: `es-US`.
    #[schemars(length(min = 2, max = 16), regex(pattern = LANGUAGE))]
    pub language: String,

    /// What to say. At most 4,096 characters. Example: `Bienvenido a Acme.`.
    #[schemars(length(min = 1, max = 4096))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,

    /// An audio file, as in `spec.file`. At most 255 characters. Exactly one of `text`, `file` and `remote` stands.
    /// Example: `prompts/welcome.es.wav`.
    #[schemars(length(min = 1, max = 255), regex(pattern = PROMPT_FILE))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,

    /// An audio file that is fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Remote>,
}
