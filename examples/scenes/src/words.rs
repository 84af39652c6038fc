//! Words to write on pictures: common ones, made-up ones and numbers.

use rand::Rng;
use rand::seq::IndexedRandom;

/// Common words of two to five letters. None of them is a word of the grammar that captions are written in.
const COMMON: &str = "ace act add age ago air aim arm art ask bad bag bar bay bed bee beg big bit boy bug buy bun cry cup cut dad \
    day dig dry due eat egg end era fan far fat fee few fit fix fly fog fox fun fur gap gas get gum guy ham hen \
    hit hop hot how ice ill ink inn jam jaw jet job joy jug key kid lab lap law leg let lid lie lip lot low mad \
    man map may mix mom mud mug net new nod now nut oak oil old own pad pan pay pen pet pie pig pin pit pot put \
    rat raw ray rib rip row rub run sad sea see set she shy sit sky son spy sun tax tea ten tip toe ton toy try \
    van war wax way web wet who why win yes yet zip able acid army baby back bake band bank base bath beam bean \
    beat bell bend best bird blow boat body bold book boss bowl burn busy cake calm camp card care cash cave chef \
    chin city clap clay club coal coat cook cool copy corn cost crab crew crop cube dark date dawn deal deep desk \
    diet dish door dose dust duty each earn east easy edge epic exit face fact fair farm fast feed file film fire \
    firm fish flag flat flow foam food fork free frog fuel game gate gift girl glad goal gold golf good grab gray \
    grow half hall hand hard head heat help hero high hike hill hint home hope horn host hour hunt idea iron jazz \
    join joke jump jury keep kind king kite knee lady lake lamp land lazy leaf lift lime line lion list live load \
    loan lock logo long look loud love luck lung mail main mark mask math meal meat menu milk mind mine mint mood \
    moon move myth nail navy neck nest news nice noon nose note oath open oven pace pack page pair palm park pass \
    path peak pear pick pile pine pipe plan play plot plum poem pole pond pony pool port pour pull pump push quiz \
    race rain rank read real rest rice rich ride ring rise risk road rock role roof room root rope rose ruby rule \
    rush safe sail salt sand save seed sell send ship shoe shop show sick side sign silk sing skin slow snow soap \
    sock soft soil song soup spin spot stay stem step stop swim tail take talk tall tank tape task team tent test \
    text tide tiny tire tool tour town trip tube tuna unit vase verb vest view vote wage walk wall warm wash wave \
    west wild wind wine wing wise wish wolf wood wool work yard year zero zone about actor adult alarm album angel \
    apple apron arena badge basic beach bench berry blaze blend board bonus brave bread brick brush cabin cable \
    candy chair chalk charm chess chief child clean clock cloud coach coral craft crown daily dance delta dream \
    drink drive eagle early earth enjoy equal event extra faith fancy fence ferry field fresh frost fruit ghost \
    giant glass globe grand grape green guide happy heart honey hotel house human humor image jelly jewel juice \
    judge kayak knife label laser lemon level light lucky lunch magic maple march medal metal model money month \
    motor mouse music night noble north ocean olive onion opera paint panda paper party peace pearl phone photo \
    piano pilot pizza plant plate prize proud pupil queen quick quiet radio ranch reply river robot royal salad \
    scale scout shark sheep shirt skate smile smoke solar sound south space spoon sport stage steam stone storm \
    story sugar sunny table tiger toast tower track trade train treat truck tulip uncle urban value video visit \
    voice water whale wheat wheel white woman world yacht young zebra";

/// Letters that look the same small and large: with nothing beside them their case can't be read.
const SAME_IN_BOTH_CASES: &str = "cosuvwxz";

/// A word of two to five letters, in small letters, in capitals, or with one capital.
pub fn draw_word(rng: &mut impl Rng) -> String {
    static WORDS: std::sync::OnceLock<Vec<&str>> = std::sync::OnceLock::new();
    let words = WORDS.get_or_init(|| COMMON.split_whitespace().collect());
    let word = if rng.random_bool(0.6) {
        (*words.choose(rng).expect("there are words")).to_owned()
    } else {
        loop {
            let word = invent(rng);
            if !word.chars().all(|letter| SAME_IN_BOTH_CASES.contains(letter)) {
                break word;
            }
        }
    };
    match rng.random_range(0..4) {
        0 | 1 => word.to_uppercase(),
        2 => word,
        _ => word[..1].to_uppercase() + &word[1..],
    }
}

/// Consonants and vowels by turns: something that can be spoken, but not known by heart.
fn invent(rng: &mut impl Rng) -> String {
    let (consonants, vowels) = (b"bcdfghjklmnprstvwxyz", b"aeiou");
    let begin = rng.random_range(0..2);
    let length = rng.random_range(2..=5);
    let letter = |at: usize, rng: &mut dyn FnMut(usize) -> usize| {
        if at % 2 == begin { consonants[rng(consonants.len())] } else { vowels[rng(vowels.len())] }
    };
    (0..length).map(|at| char::from(letter(at, &mut |below| rng.random_range(0..below)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_words_have_two_to_five_small_letters_and_a_case() {
        for word in COMMON.split_whitespace() {
            assert!((2..=5).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase()), "{word}");
            assert!(!word.chars().all(|letter| SAME_IN_BOTH_CASES.contains(letter)), "{word}");
        }
    }
}
