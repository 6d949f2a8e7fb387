//! How a pod reaches an operator over the network.

use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::client::Heard;
use crate::{
    identity::OPERATOR_NAME,
    tls::{Tls, channel},
    wire::{FromPod, config_client::ConfigClient},
};

/// Most octets of a message that a pod takes. More than an operator sends, so that a later one may send more.
const MESSAGE_MAX: usize = 2 * super::MESSAGE_MAX;

/// Opens a stream.
pub async fn watch(tls: &Tls, address: &str, said: ReceiverStream<FromPod>) -> Result<Heard, Status> {
    let channel = channel(tls, address, OPERATOR_NAME)
        .await
        .map_err(|error| Status::unavailable(format!("{address}: {error}")))?;
    let mut client = ConfigClient::new(channel).max_decoding_message_size(MESSAGE_MAX);
    let heard = client.watch(said).await?.into_inner();
    Ok(Box::pin(heard))
}
