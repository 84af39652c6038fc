//! Which layers an adapter is for, by PEFT's rules: a name is the whole name of a module or its last parts, a pattern
//! matches whole names, `all-linear` is every linear layer but the head.

use super::LoraError;
use qwen3_vl_burn::checkpoint::{AdapterTargets, Pattern};
use std::collections::BTreeSet;

/// The output head's module.
pub(super) const HEAD: &str = "lm_head";

/// The patch embedding: a convolution in HF, and no linear layer.
pub(super) const PATCHES: &str = "model.visual.patch_embed.proj";

/// Those of `modules` that `targets` name.
pub(super) fn choose(targets: &AdapterTargets, modules: &[String]) -> Result<BTreeSet<String>, LoraError> {
    match targets {
        AdapterTargets::AllLinear => {
            Ok(modules.iter().filter(|module| *module != HEAD && *module != PATCHES).cloned().collect())
        }
        AdapterTargets::Pattern(pattern) => {
            let regex = Pattern::whole(pattern)?;
            let mut chosen = BTreeSet::new();
            for module in modules {
                if regex.matches(module)? {
                    chosen.insert(module.clone());
                }
            }
            check(pattern, &chosen, modules).map(|()| chosen)
        }
        AdapterTargets::Names(names) if names.is_empty() => Err(LoraError::NoTargets),
        AdapterTargets::Names(names) => {
            let mut all = BTreeSet::new();
            for name in names {
                let ending = format!(".{name}");
                let named = |module: &&String| *module == name || module.ends_with(&ending);
                let chosen: BTreeSet<String> = modules.iter().filter(named).cloned().collect();
                check(name, &chosen, modules)?;
                all.extend(chosen);
            }
            Ok(all)
        }
    }
}

/// Refuses a target that chose nothing, or the head.
fn check(target: &str, chosen: &BTreeSet<String>, modules: &[String]) -> Result<(), LoraError> {
    // A tied head is no module of its own.
    if chosen.contains(HEAD) || target == HEAD {
        return Err(LoraError::Head { target: target.to_owned() });
    }
    if chosen.is_empty() {
        let last = |module: &String| module.rsplit('.').next().unwrap_or(module).to_owned();
        let existing: BTreeSet<String> = modules.iter().filter(|module| *module != HEAD).map(last).collect();
        return Err(LoraError::Target { target: target.to_owned(), existing: existing.into_iter().collect() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules() -> Vec<String> {
        let text = "model.language_model.layers.";
        let modules = [
            "model.visual.patch_embed.proj".to_owned(),
            "model.visual.blocks.0.attn.qkv".to_owned(),
            "model.visual.blocks.0.attn.proj".to_owned(),
            "model.visual.merger.linear_fc1".to_owned(),
            format!("{text}0.self_attn.q_proj"),
            format!("{text}1.self_attn.q_proj"),
            format!("{text}1.self_attn.o_proj"),
            "lm_head".to_owned(),
        ];
        modules.to_vec()
    }

    fn names(names: &[&str]) -> AdapterTargets {
        AdapterTargets::Names(names.iter().map(|&name| name.to_owned()).collect())
    }

    fn chosen(targets: &AdapterTargets) -> Vec<String> {
        choose(targets, &modules()).unwrap().into_iter().map(|name| name.replace("model.", "")).collect()
    }

    #[test]
    fn the_rules_are_pefts() {
        assert_eq!(chosen(&names(&["q_proj"])).len(), 2);
        assert_eq!(chosen(&names(&["1.self_attn.q_proj", "qkv"])).len(), 2);
        // The convolution's name ends so too, and `o_proj` doesn't: a dot comes before a target.
        assert_eq!(chosen(&names(&["proj"])), ["visual.blocks.0.attn.proj", "visual.patch_embed.proj"]);
        assert_eq!(chosen(&AdapterTargets::AllLinear).len(), 6);
        let pattern = |text: &str| AdapterTargets::Pattern(text.to_owned());
        assert_eq!(chosen(&pattern(r"model\.language_model.*\.(q|o)_proj")).len(), 3);
        assert_eq!(chosen(&pattern(r"(?!.*visual).*_proj")).len(), 3);
    }

    #[test]
    fn targets_that_match_nothing_are_named() {
        for (targets, wrong) in [
            (names(&["q_proj", "query"]), "query"),
            (names(&["_proj"]), "_proj"),
            (AdapterTargets::Pattern("q_proj".to_owned()), "q_proj"),
        ] {
            let error = choose(&targets, &modules()).unwrap_err();
            let LoraError::Target { target, existing } = &error else { panic!("{error}") };
            assert_eq!((target.as_str(), existing.len()), (wrong, 5));
            assert!(error.to_string().contains("linear_fc1, o_proj, proj, q_proj, qkv"), "{error}");
        }
        assert!(matches!(choose(&names(&[]), &modules()), Err(LoraError::NoTargets)));
        for targets in [names(&["lm_head"]), AdapterTargets::Pattern(".*".to_owned())] {
            assert!(matches!(choose(&targets, &modules()), Err(LoraError::Head { .. })));
        }
        let tied = &modules()[..7];
        assert!(matches!(choose(&names(&["lm_head"]), tied), Err(LoraError::Head { .. })));
        let broken = AdapterTargets::Pattern("(".to_owned());
        assert!(matches!(choose(&broken, &modules()), Err(LoraError::Pattern(_))));
    }
}
