//! The decoder's blocks.

use super::block::{Block, WeightMut, init_rms_norm_like, visit_part};
use crate::layers::WEIGHT_INITIALIZER;
use crate::text::{DecoderLayer, Experts, GatedMlp, Mlp, SparseMlp, TextAttention};
use burn::tensor::backend::Backend;

impl<B: Backend> Block<B> for TextAttention<B> {
    type On<T: Backend> = TextAttention<T>;

    fn init_like<T: Backend<Device = B::Device>>(&self) -> TextAttention<T> {
        TextAttention {
            q_proj: self.q_proj.init_like(),
            k_proj: self.k_proj.init_like(),
            v_proj: self.v_proj.init_like(),
            o_proj: self.o_proj.init_like(),
            q_norm: init_rms_norm_like(&self.q_norm),
            k_norm: init_rms_norm_like(&self.k_norm),
            head_dim: self.head_dim,
        }
    }

    fn visit_weights(&mut self, visit: &mut dyn FnMut(&str, WeightMut<'_, B>)) {
        visit_part("q_proj", &mut self.q_proj, visit);
        visit_part("k_proj", &mut self.k_proj, visit);
        visit_part("v_proj", &mut self.v_proj, visit);
        visit_part("o_proj", &mut self.o_proj, visit);
    }
}

impl<B: Backend> Block<B> for GatedMlp<B> {
    type On<T: Backend> = GatedMlp<T>;

    fn init_like<T: Backend<Device = B::Device>>(&self) -> GatedMlp<T> {
        GatedMlp {
            gate_proj: self.gate_proj.init_like(),
            up_proj: self.up_proj.init_like(),
            down_proj: self.down_proj.init_like(),
        }
    }

    fn visit_weights(&mut self, visit: &mut dyn FnMut(&str, WeightMut<'_, B>)) {
        visit_part("gate_proj", &mut self.gate_proj, visit);
        visit_part("up_proj", &mut self.up_proj, visit);
        visit_part("down_proj", &mut self.down_proj, visit);
    }
}

impl<B: Backend> Block<B> for SparseMlp<B> {
    type On<T: Backend> = SparseMlp<T>;

    fn init_like<T: Backend<Device = B::Device>>(&self) -> SparseMlp<T> {
        let device = self.gate.weight.lazy_device();
        let Experts { gate_up_proj, down_proj } = &self.experts;
        SparseMlp {
            gate: self.gate.init_like(),
            experts: Experts {
                gate_up_proj: WEIGHT_INITIALIZER.init(gate_up_proj.lazy_shape(), &device),
                down_proj: WEIGHT_INITIALIZER.init(down_proj.lazy_shape(), &device),
            },
            options: self.options,
            source: None,
        }
    }

    /// The router alone: experts are read where they lie, as each serves few tokens.
    fn visit_weights(&mut self, visit: &mut dyn FnMut(&str, WeightMut<'_, B>)) {
        visit_part("gate", &mut self.gate, visit);
    }
}

impl<B: Backend> Block<B> for Mlp<B> {
    type On<T: Backend> = Mlp<T>;

    fn init_like<T: Backend<Device = B::Device>>(&self) -> Mlp<T> {
        match self {
            Self::Dense(mlp) => Mlp::Dense(mlp.init_like()),
            Self::Sparse(mlp) => Mlp::Sparse(mlp.init_like()),
        }
    }

    fn visit_weights(&mut self, visit: &mut dyn FnMut(&str, WeightMut<'_, B>)) {
        match self {
            Self::Dense(mlp) => mlp.visit_weights(visit),
            Self::Sparse(mlp) => mlp.visit_weights(visit),
        }
    }
}

impl<B: Backend> Block<B> for DecoderLayer<B> {
    type On<T: Backend> = DecoderLayer<T>;

    fn init_like<T: Backend<Device = B::Device>>(&self) -> DecoderLayer<T> {
        DecoderLayer {
            input_layernorm: init_rms_norm_like(&self.input_layernorm),
            self_attn: self.self_attn.init_like(),
            post_attention_layernorm: init_rms_norm_like(&self.post_attention_layernorm),
            mlp: self.mlp.init_like(),
        }
    }

    fn visit_weights(&mut self, visit: &mut dyn FnMut(&str, WeightMut<'_, B>)) {
        visit_part("self_attn", &mut self.self_attn, visit);
        visit_part("mlp", &mut self.mlp, visit);
    }
}
