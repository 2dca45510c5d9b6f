//! An index of many rules: the rules that can match, in order, without a check of each.

use super::facts::AccessFacts;
use super::judge::judge;
use super::keys::{Keys, Lists, weight};
use ir::policy::{AuthorizationRule, Condition, RuleList};

/// Fewer rules are judged one after another, which is faster than an index.
const FEW: usize = 8;

/// Rules with their index.
#[derive(Debug)]
pub(super) struct RuleIndex {
    rules: RuleList,
    keys: Option<Box<Keys>>,
}

impl RuleIndex {
    pub(super) fn build(rules: &RuleList) -> Self {
        let keys = (rules.len() > FEW).then(|| Box::new(keys_of(rules)));
        Self { rules: RuleList::clone(rules), keys }
    }

    /// The first rule that matches.
    pub(super) fn first(&self, facts: &AccessFacts<'_>) -> Option<&AuthorizationRule> {
        let Some(keys) = &self.keys else { return self.first_of_all(facts) };
        let mut lists = Lists::new();
        keys.find(facts, &mut lists);
        // Every list ascends, so that the next number is the smallest of their heads.
        let mut last = None;
        loop {
            let heads = lists.iter_mut().filter_map(|list| {
                let (number, rest) = list.split_first()?;
                Some((*number, rest, list))
            });
            let (number, rest, list) = heads.min_by_key(|(number, ..)| *number)?;
            *list = rest;
            if last.replace(number) == Some(number) {
                continue;
            }
            let rule = self.rules.get(number as usize)?;
            if judge(rule, facts).is_ok() {
                return Some(rule);
            }
        }
    }

    /// The same, without the index.
    pub(super) fn first_of_all(&self, facts: &AccessFacts<'_>) -> Option<&AuthorizationRule> {
        self.rules.iter().find(|rule| judge(rule, facts).is_ok()).map(|rule| &**rule)
    }
}

fn keys_of(rules: &RuleList) -> Keys {
    let mut keys = Keys::default();
    for (number, rule) in (0..).zip(rules.iter()) {
        if rule.from.is_empty() || rule.to.is_empty() {
            // It never matches.
            continue;
        }
        let chosen = [best_of_each(&rule.from), best_of_each(&rule.to), best_of(&rule.when).map(|best| vec![best])];
        let least = |chosen: &Vec<&Condition>| chosen.iter().map(|condition| weight(condition)).min();
        match chosen.into_iter().flatten().max_by_key(least) {
            Some(conditions) => conditions.iter().for_each(|condition| keys.add(&condition.demand, number)),
            None => keys.add_other(number),
        }
    }
    keys.finish();
    keys
}

/// The condition that says most of the requests that meet all of them; `None` if none of them can be looked up.
fn best_of(conditions: &[Condition]) -> Option<&Condition> {
    conditions.iter().filter(|condition| weight(condition) > 0).max_by_key(|condition| weight(condition))
}

/// The same for each alternative, all of which are needed.
fn best_of_each(alternatives: &[Vec<Condition>]) -> Option<Vec<&Condition>> {
    alternatives.iter().map(|conditions| best_of(conditions)).collect()
}
