//! The vision tower's blocks, and the whole model.

use super::block::{Block, WeightMut, init_layer_norm_like, visit_part};
use crate::Qwen3Vl;
use crate::vision::{VisionAttention, VisionBlock, VisionMlp};
use burn::tensor::backend::Backend;

impl<B: Backend> Block<B> for VisionAttention<B> {
    type On<T: Backend> = VisionAttention<T>;

    fn init_like<T: Backend<Device = B::Device>>(&self) -> VisionAttention<T> {
        VisionAttention { qkv: self.qkv.init_like(), proj: self.proj.init_like(), num_heads: self.num_heads }
    }

    fn visit_weights(&mut self, visit: &mut dyn FnMut(&str, WeightMut<'_, B>)) {
        visit_part("qkv", &mut self.qkv, visit);
        visit_part("proj", &mut self.proj, visit);
    }
}

impl<B: Backend> Block<B> for VisionMlp<B> {
    type On<T: Backend> = VisionMlp<T>;

    fn init_like<T: Backend<Device = B::Device>>(&self) -> VisionMlp<T> {
        VisionMlp {
            linear_fc1: self.linear_fc1.init_like(),
            linear_fc2: self.linear_fc2.init_like(),
            activation: self.activation,
        }
    }

    fn visit_weights(&mut self, visit: &mut dyn FnMut(&str, WeightMut<'_, B>)) {
        visit_part("linear_fc1", &mut self.linear_fc1, visit);
        visit_part("linear_fc2", &mut self.linear_fc2, visit);
    }
}

impl<B: Backend> Block<B> for VisionBlock<B> {
    type On<T: Backend> = VisionBlock<T>;

    fn init_like<T: Backend<Device = B::Device>>(&self) -> VisionBlock<T> {
        VisionBlock {
            norm1: init_layer_norm_like(&self.norm1),
            norm2: init_layer_norm_like(&self.norm2),
            attn: self.attn.init_like(),
            mlp: self.mlp.init_like(),
        }
    }

    fn visit_weights(&mut self, visit: &mut dyn FnMut(&str, WeightMut<'_, B>)) {
        visit_part("attn", &mut self.attn, visit);
        visit_part("mlp", &mut self.mlp, visit);
    }
}

impl<B: Backend> Block<B> for Qwen3Vl<B> {
    type On<T: Backend> = Qwen3Vl<T>;

    fn init_like<T: Backend<Device = B::Device>>(&self) -> Qwen3Vl<T> {
        let mut like = self.config().init(&self.device());
        match self.stream() {
            Some(stream) => stream.thin_out(&mut like),
            // By their own sizes: they may have adapters.
            None => {
                like.visual.patch_embed.proj = self.visual.patch_embed.proj.init_like();
                like.visual.blocks = self.visual.blocks.iter().map(Block::init_like).collect();
                let mergers = like.visual.deepstack_merger_list.iter_mut().chain([&mut like.visual.merger]);
                let own = self.visual.deepstack_merger_list.iter().chain([&self.visual.merger]);
                for (like, own) in mergers.zip(own) {
                    like.linear_fc1 = own.linear_fc1.init_like();
                    like.linear_fc2 = own.linear_fc2.init_like();
                }
                like.language_model.layers = self.language_model.layers.iter().map(Block::init_like).collect();
            }
        }
        like.set_dropout_pass(self.dropout_pass().clone());
        like.with_cache_dtype(self.cache_dtype()).with_kernel_config(self.kernel_config().clone())
    }

    fn visit_weights(&mut self, visit: &mut dyn FnMut(&str, WeightMut<'_, B>)) {
        // The largest weight first: while it is packed, the pages of a mapped checkpoint that come later are not in
        // memory yet.
        match &mut self.lm_head {
            Some(head) => visit_part("lm_head", head, visit),
            // A table that is not the head is only gathered from.
            None => {
                visit("language_model.embed_tokens", WeightMut::Embedding(&mut self.language_model.embed_tokens));
            }
        }
        let tower = &mut self.visual;
        visit_part("visual.patch_embed.proj", &mut tower.patch_embed.proj, visit);
        for (index, block) in tower.blocks.iter_mut().enumerate() {
            visit_part(&format!("visual.blocks.{index}"), block, visit);
        }
        let taps = tower.deepstack_merger_list.iter_mut().enumerate();
        let taps = taps.map(|(index, merger)| (format!("visual.deepstack_merger_list.{index}"), merger));
        for (name, merger) in taps.chain([("visual.merger".to_owned(), &mut tower.merger)]) {
            visit_part(&format!("{name}.linear_fc1"), &mut merger.linear_fc1, visit);
            visit_part(&format!("{name}.linear_fc2"), &mut merger.linear_fc2, visit);
        }
        for (index, layer) in self.language_model.layers.iter_mut().enumerate() {
            visit_part(&format!("language_model.layers.{index}"), layer, visit);
        }
    }
}
