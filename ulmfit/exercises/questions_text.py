"""Questions about the way from raw text to ids."""

from __future__ import annotations

from ulmfit.exercises.question import Choice, Number, Question, Usual, right, wrong

TEXT: dict[str, Question] = {
    "q09": Choice(
        "Raw documents are to become batches for a language model. In which order?",
        (
            wrong(
                "Numericalise, tokenize, cut into batches.",
                "Ids belong to tokens, so there have to be tokens first.",
            ),
            wrong(
                "Tokenize, pad to a common length, numericalise.",
                "A language model's batches need no padding: the documents become one stream.",
            ),
            right(
                "Tokenize, numericalise, join to one stream and cut it into rows.",
                "The labels are the same stream, moved on by one token.",
            ),
        ),
    ),
    "q10": Choice(
        "What is tokenization?",
        (
            right(
                "Splitting text into the units that the model has an embedding for.",
                "Words, pieces of words or characters; punctuation and clitics such as `'s` are units of their own.",
            ),
            wrong(
                "Giving each word a number.",
                "That is numericalisation, the step after it.",
            ),
            wrong(
                "Calling `text.split()`.",
                'That leaves "film," and "film" two different words, and knows no language without spaces.',
            ),
        ),
    ),
    "q11": Choice(
        "Words, subwords or characters: which fits a language of long compounds, or one written without spaces, best?",
        (
            wrong(
                "Words.",
                "Where spaces do not mark words there is nothing to split at, and most compounds are too rare for an entry.",
            ),
            right(
                "Subwords: frequent pieces found in the corpus itself.",
                "Rare words are spelled from known pieces, frequent ones stay whole, and no knowledge of spaces is needed.",
            ),
            wrong(
                "Characters.",
                "It works everywhere, but a text becomes several times longer and each unit says little.",
            ),
        ),
    ),
    "q12": Choice(
        "What does `xxbos` tell the model?",
        (
            wrong("That a sentence ends.", "Sentences end with their own punctuation."),
            wrong(
                "That a word is unknown.",
                "That is `xxunk`.",
            ),
            right(
                "That a new text begins.",
                "In the stream one document follows another: here the model can learn to forget what it has just read.",
            ),
        ),
    ),
    "q13": Choice(
        "Which tokens does `It was GREAT` become under fastai's rules (after `xxbos`)?",
        (
            wrong(
                "`It was GREAT`",
                "Then It, it and IT would have three embeddings. Case is moved into tokens of its own.",
            ),
            wrong(
                "`it was great`",
                "The shouting would be lost. A mark keeps it, and the word shares one embedding.",
            ),
            right(
                "`xxmaj it was xxup great`",
                "`xxmaj` marks a capital first letter, `xxup` a word in capitals: nothing is lost, the vocabulary stays small.",
            ),
        ),
    ),
    "q14": Number(
        "How many tokens do five exclamation marks in a row, `!!!!!`, become under fastai's rules (not counting `xxbos`)?",
        3,
        "`xxrep 5 !`: the mark of a repetition, the count, the character.",
        (
            Usual(5, "One token each would be what happens without the rule."),
            Usual(1, "A token for each length of repetition would fill the vocabulary."),
            Usual(2, "The mark, the count and the character are one token each."),
        ),
    ),
    "q15": Choice(
        "Why is a repeated character replaced by a mark, a count and the character?",
        (
            wrong(
                "To save memory.",
                "Three tokens hardly save any. It is about meaning.",
            ),
            right(
                "`!!!!` and `!!!!!` mean much the same; so they share tokens, and the idea of repetition gets an embedding.",
                "Otherwise each length would be a rare word of its own, most of them unknown.",
            ),
            wrong(
                "Because spaCy cannot split them.",
                "It can; the result would only say less.",
            ),
        ),
    ),
    "q16": Choice(
        "What is numericalisation?",
        (
            wrong(
                "Turning numbers in the text into words.",
                "Numbers in a text are tokens like others.",
            ),
            wrong(
                "Looking the embedding of each token up.",
                "That is the model's first layer; it is given ids.",
            ),
            right(
                "Replacing each token by its place in the vocabulary.",
                "The id is the number of the row of the embedding that belongs to the token.",
            ),
        ),
    ),
    "q17": Choice(
        "Why does a word of your *own training text* become `xxunk`?",
        (
            wrong(
                "It does not occur in Wikipedia.",
                "The vocabulary is built from your text; words that the pretrained model lacks are new, not unknown.",
            ),
            right(
                "It is rarer than `min_freq`, or the vocabulary is full (`max_vocab`).",
                "Rows for words seen once or twice would learn nothing, and each costs memory and time in the softmax.",
            ),
            wrong(
                "It is misspelled.",
                "Nobody checks spelling: a frequent misspelling has an entry of its own.",
            ),
        ),
    ),
}
