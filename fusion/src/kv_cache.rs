//! Keys and values of one attention layer, kept between the tokens of a generation.

use crate::Packing;
use crate::family::{Conversion, Float, TensorFamily};
use burn_backend::{Backend, DType};
use burn_tensor::Tensor;

/// The cache has no room for the keys that were to be appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the KV cache holds {length} of {capacity} positions and cannot take {added} more: make a cache of at least {} positions", length + added)]
pub struct CacheFull {
    /// Positions in use.
    pub length: usize,
    /// Positions that were to be added.
    pub added: usize,
    /// Positions allocated.
    pub capacity: usize,
}

/// Keys and values of one layer, `[batch, kv_heads, capacity, head_dim]`, of which the first `length` positions are in
/// use.
///
/// The buffers are allocated once and written in place; they hold `dtype` (f32, bf16 or f16), and what is appended is
/// rounded to it.
#[derive(Debug, Clone)]
pub struct KvCache<B: Backend> {
    keys: Option<Tensor<B, 4>>,
    values: Option<Tensor<B, 4>>,
    length: usize,
    capacity: usize,
    dtype: DType,
}

/// The buffers of a [`KvCache`], lent to whoever writes the next positions.
#[derive(Debug)]
pub struct CacheRoom<F: TensorFamily> {
    /// `[batch, kv_heads, capacity, head_dim]`.
    pub keys: Float<F, 4>,
    /// `[batch, kv_heads, capacity, head_dim]`.
    pub values: Float<F, 4>,
    /// Positions in use: the next ones are written behind them.
    pub start: usize,
}

impl<F: TensorFamily> CacheRoom<F> {
    /// The same in another family.
    pub fn convert<C: Conversion<From = F>>(self) -> CacheRoom<C::To> {
        let Self { keys, values, start } = self;
        CacheRoom { keys: C::convert_float::<4>(keys), values: C::convert_float::<4>(values), start }
    }
}

impl<B: Backend> KvCache<B> {
    /// An empty cache for `capacity` positions. The buffers are allocated by the first [`KvCache::append`].
    pub fn new(capacity: usize, dtype: DType) -> Self {
        Self { keys: None, values: None, length: 0, capacity, dtype }
    }

    /// Positions in use.
    pub fn len(&self) -> usize {
        self.length
    }

    /// True when no position is in use.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Positions allocated.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The storage type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Forgets every position from `length` on; the buffers stay.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// Makes room for `capacity` positions in all; those in use are copied, one buffer after the other. Nothing happens
    /// where there is room.
    pub fn reserve(&mut self, capacity: usize) {
        if capacity <= self.capacity {
            return;
        }
        for slot in [&mut self.keys, &mut self.values] {
            if let Some(buffer) = slot.take() {
                let [batch, kv_heads, _, head_dim] = buffer.dims();
                let used = [0..batch, 0..kv_heads, 0..self.length, 0..head_dim];
                let larger = Tensor::zeros([batch, kv_heads, capacity, head_dim], (&buffer.device(), self.dtype));
                *slot = Some(larger.slice_assign(used.clone(), buffer.slice(used)));
            }
        }
        self.capacity = capacity;
    }

    /// Writes `k` and `v`, each `[batch, kv_heads, added, head_dim]`, behind the positions in use.
    ///
    /// # Errors
    /// [`CacheFull`] when `added` exceeds the room left; nothing is written then.
    pub fn append(&mut self, k: Tensor<B, 4>, v: Tensor<B, 4>) -> Result<(), CacheFull> {
        let [batch, kv_heads, added, head_dim] = k.dims();
        let (start, end) = (self.length, self.length + added);
        if end > self.capacity {
            return Err(CacheFull { length: self.length, added, capacity: self.capacity });
        }
        if added == 0 {
            return Ok(());
        }
        let shape = [batch, kv_heads, self.capacity, head_dim];
        let write = |slot: &mut Option<Tensor<B, 4>>, new: Tensor<B, 4>| {
            // Taken out of the slot, so that the buffer has one owner and is written in place.
            let buffer = slot.take().unwrap_or_else(|| Tensor::zeros(shape, (&new.device(), self.dtype)));
            *slot = Some(buffer.slice_assign([0..batch, 0..kv_heads, start..end, 0..head_dim], new.cast(self.dtype)));
        };
        write(&mut self.keys, k);
        write(&mut self.values, v);
        self.length = end;
        Ok(())
    }

    /// Keys and values in use, each `[batch, kv_heads, length, head_dim]`, as views. `None` while nothing was appended.
    pub fn view(&self) -> Option<(Tensor<B, 4>, Tensor<B, 4>)> {
        let (k, v) = (self.keys.as_ref()?, self.values.as_ref()?);
        let [batch, kv_heads, _, head_dim] = k.dims();
        let used = [0..batch, 0..kv_heads, 0..self.length, 0..head_dim];
        Some((k.clone().slice(used.clone()), v.clone().slice(used)))
    }
}

impl<B: Packing> KvCache<B> {
    /// Lends the buffers to a kernel that writes `added` positions for shape `[batch, kv_heads, added, head_dim]`
    /// itself. Until [`KvCache::restore`] gives them back the cache is empty, so that each buffer has one owner and is
    /// written in place.
    ///
    /// # Errors
    /// [`CacheFull`] when `added` exceeds the room left; nothing is lent then.
    pub fn lend(
        &mut self,
        [batch, kv_heads, added, head_dim]: [usize; 4],
        device: &B::Device,
    ) -> Result<CacheRoom<B>, CacheFull> {
        let start = self.length;
        if start + added > self.capacity {
            return Err(CacheFull { length: start, added, capacity: self.capacity });
        }
        let shape = [batch, kv_heads, self.capacity, head_dim];
        let take =
            |slot: &mut Option<Tensor<B, 4>>| slot.take().unwrap_or_else(|| Tensor::zeros(shape, (device, self.dtype)));
        let (keys, values) = (take(&mut self.keys), take(&mut self.values));
        self.length = 0;
        Ok(CacheRoom { keys, values, start })
    }

    /// Takes back what [`KvCache::lend`] lent, with `written` positions more in use.
    pub fn restore(&mut self, room: CacheRoom<B>, written: usize) {
        self.keys = Some(room.keys);
        self.values = Some(room.values);
        self.length = room.start + written;
    }
}
