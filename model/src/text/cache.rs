//! Keys and values of all decoder layers.

use crate::config::TextConfig;
use burn::tensor::DType;
use burn::tensor::backend::Backend;
use burn_kiln_fusion::KvCache;

/// The keys and values of a sequence in every decoder layer.
#[derive(Debug, Clone)]
pub struct Cache<B: Backend> {
    layers: Vec<KvCache<B>>,
}

impl<B: Backend> Cache<B> {
    /// An empty cache for sequences of up to `capacity` tokens. Each layer allocates its buffers when it first runs:
    /// `2 · kv_heads · capacity · head_dim` elements of `dtype`.
    pub fn new(config: &TextConfig, capacity: usize, dtype: DType) -> Self {
        Self { layers: (0..config.num_hidden_layers).map(|_| KvCache::new(capacity, dtype)).collect() }
    }

    /// Tokens held.
    pub fn len(&self) -> usize {
        self.layers.first().map_or(0, KvCache::len)
    }

    /// True when no token is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tokens that there is room for, those held included.
    pub fn capacity(&self) -> usize {
        self.layers.first().map_or(0, KvCache::capacity)
    }

    /// Makes room for `capacity` tokens in all; what is held stays. Nothing happens where there is room.
    pub fn reserve(&mut self, capacity: usize) {
        self.layers.iter_mut().for_each(|layer| layer.reserve(capacity));
    }

    /// Forgets every token from `length` on; the buffers stay.
    pub fn truncate(&mut self, length: usize) {
        self.layers.iter_mut().for_each(|layer| layer.truncate(length));
    }

    pub(super) fn layer(&mut self, index: usize) -> &mut KvCache<B> {
        &mut self.layers[index]
    }
}
