//! Sums over all nodes.

use super::orchestrator::{check_port, start};
use super::{DistributedError, HostPort, NodeOptions};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorPrimitive};
use burn_collective::{AllReduceStrategy, CollectiveConfig, CollectiveError, PeerId, ReduceOperation};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;

/// The most elements of one message; burn-collective's limit is 512 MiB, MessagePack and the frame included.
const PIECE: usize = 1 << 26;

/// This process among the nodes. `B` is the backend of the gradients, without autodiff; a process is in one group of a
/// backend.
#[derive(Debug)]
pub struct Group<B: Backend> {
    options: NodeOptions,
    listen: HostPort,
    device: B::Device,
    round: u64,
}

impl<B: Backend> Group<B> {
    /// Takes part; node 0 starts the orchestrators. The first [`Group::gather`] or [`Group::sum`] waits for the others.
    ///
    /// # Errors
    /// [`DistributedError::Index`], `Port`, `Unreachable`, `Thread`.
    pub fn join(options: NodeOptions, device: B::Device) -> Result<Self, DistributedError> {
        options.validate()?;
        let listen = options.resolve_listen()?;
        if options.index == 0 {
            start(&options.orchestrator)?;
        }
        [0, 1].into_iter().try_for_each(|parity| check_port(listen.port_of(parity)))?;
        Ok(Self { options, listen, device, round: 0 })
    }

    /// Who this node is.
    pub fn options(&self) -> &NodeOptions {
        &self.options
    }

    /// The sum over all nodes of vectors of one length, the same bits on each: node by node in a tree.
    ///
    /// # Shapes
    /// `values` and output `[n]`, f32, `n` the same on all nodes.
    ///
    /// # Errors
    /// [`DistributedError::Silent`] and `Lost`: the group is of no more use then.
    pub fn sum(&mut self, values: Tensor<B, 1>) -> Result<Tensor<B, 1>, DistributedError> {
        let [length] = values.dims();
        if length == 0 {
            return Ok(values);
        }
        let mut sums = Vec::new();
        for start in (0..length).step_by(PIECE) {
            let piece = values.clone().narrow(0, start, PIECE.min(length - start));
            sums.push(self.run_round(piece)?);
        }
        Ok(if sums.len() == 1 { sums.remove(0) } else { Tensor::cat(sums, 0) })
    }

    /// What every node gave, in the order of their numbers; all give as many values.
    ///
    /// # Errors
    /// As [`Group::sum`].
    pub fn gather(&mut self, values: &[f32]) -> Result<Vec<Vec<f32>>, DistributedError> {
        let (nodes, index) = (self.options.nodes as usize, self.options.index as usize);
        let mut places = vec![0.0; nodes * values.len()];
        places[index * values.len()..][..values.len()].copy_from_slice(values);
        let sum = self.sum(Tensor::from_floats(places.as_slice(), &self.device))?;
        let all: Vec<f32> = sum.into_data().convert::<f32>().to_vec().unwrap_or_default();
        Ok(all.chunks(values.len().max(1)).map(<[f32]>::to_vec).collect())
    }

    /// Checks that all nodes have the same `text`, which says `what`: its length and CRC-32 go around.
    ///
    /// # Errors
    /// [`DistributedError::Disagreement`], which names the first node that differs; as [`Group::sum`].
    pub fn agree(&mut self, text: &str, what: &'static str) -> Result<(), DistributedError> {
        let fingerprint = (text.len() as u64) << 32 | u64::from(crc32fast::hash(text.as_bytes()));
        // Pieces of 16 bits: f32 holds them exactly.
        let pieces: [f32; 4] = std::array::from_fn(|i| f32::from((fingerprint >> (16 * i)) as u16));
        let all = self.gather(&pieces)?;
        match all.iter().position(|other| other[..] != pieces[..]) {
            Some(other) => Err(DistributedError::Disagreement { index: self.options.index, other: other as u32, what }),
            None => Ok(()),
        }
    }

    /// One session of burn-collective, in a thread that is left behind where nothing comes back in time.
    fn run_round(&mut self, values: Tensor<B, 1>) -> Result<Tensor<B, 1>, DistributedError> {
        let (round, options) = (self.round, &self.options);
        self.round += 1;
        let lost = |reason: String| DistributedError::Lost { index: options.index, round, reason };
        let address = |url: String| url.parse().map_err(lost);
        let config = CollectiveConfig::default()
            .with_num_devices(1)
            .with_num_nodes(options.nodes)
            .with_global_address(address(options.orchestrator.url(round))?)
            .with_node_address(address(self.listen.url(round))?)
            .with_data_service_port(self.listen.port_of(round))
            .with_global_all_reduce_strategy(AllReduceStrategy::Tree(2));
        let (peer, device) = (PeerId(options.index), self.device.clone());
        let (sender, receiver) = sync_channel(1);
        let work = move || {
            let result = reduce::<B>(peer, device, config, values);
            // Nobody listens where the time was up.
            let _ = sender.send(result);
        };
        thread::Builder::new().name("collective".into()).spawn(work).map_err(DistributedError::Thread)?;
        match receiver.recv_timeout(options.timeout) {
            Ok(result) => result.map_err(|error| lost(format!("{error:?}"))),
            Err(RecvTimeoutError::Disconnected) => Err(lost("its thread panicked".to_owned())),
            Err(RecvTimeoutError::Timeout) => Err(DistributedError::Silent {
                index: options.index,
                nodes: options.nodes,
                address: options.orchestrator.to_string(),
                round,
                timeout: options.timeout,
            }),
        }
    }
}

/// A session: register, reduce, finish.
fn reduce<B: Backend>(
    peer: PeerId,
    device: B::Device,
    config: CollectiveConfig,
    values: Tensor<B, 1>,
) -> Result<Tensor<B, 1>, CollectiveError> {
    burn_collective::register::<B>(peer, device, config)?;
    let sum = burn_collective::all_reduce::<B>(peer, values.into_primitive().tensor(), ReduceOperation::Sum)?;
    if let Err(error) = burn_collective::finish_collective::<B>(peer) {
        // The sum is there all the same; a peer that left after its last round makes this fail. A next round would say.
        tracing::debug!(?error, "a session of burn-collective did not end cleanly");
    }
    Ok(Tensor::from_primitive(TensorPrimitive::Float(sum)))
}
