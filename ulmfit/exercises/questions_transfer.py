"""Questions about the idea: what a language model learns from, and what that is good for."""

from __future__ import annotations

from ulmfit.exercises.question import Choice, Number, Question, Usual, right, wrong

TRANSFER: dict[str, Question] = {
    "q01": Choice(
        "What makes learning *self-supervised*?",
        (
            wrong(
                "There are no labels at all.",
                "There are: a loss compares predictions with something. Only nobody had to write them by hand.",
            ),
            right(
                "The labels are taken from the input itself.",
                "Some part of the input is held back and predicted from the rest, so that raw text is training data.",
            ),
            wrong(
                "The model labels new data, and a person checks.",
                "That is closer to active learning or pseudo-labelling.",
            ),
        ),
    ),
    "q02": Choice(
        "What does a language model do?",
        (
            right(
                "It gives each token of the vocabulary a probability of being the next one, given those before.",
                "To foresee words well it has to learn about grammar, style and the world, which is what is carried on.",
            ),
            wrong(
                "It translates text into another language.",
                "A translator contains such a model, but this one reads and foresees a single stream of text.",
            ),
            wrong(
                "It decides whether a sentence is grammatical.",
                "It gives odd sentences a low probability, but nobody tells it what is allowed.",
            ),
        ),
    ),
    "q03": Choice(
        "What are the labels when a language model is trained?",
        (
            wrong("The sentiment of each text.", "That is the label of stage 3, the classifier."),
            wrong(
                "The same tokens as the input.",
                "Then it would only have to copy. The labels are the input moved on by one place.",
            ),
            right(
                "At each place, the token that follows in the text.",
                "So each token of the corpus is an example, and the text brings its own labels.",
            ),
        ),
    ),
    "q04": Choice(
        "What are models trained in a self-supervised way mostly used for?",
        (
            wrong(
                "As they are, for the task they were trained on.",
                "Foreseeing the next word is sometimes wanted, but it mostly serves as a preparation.",
            ),
            right(
                "As a beginning for a task of its own, with few labels.",
                "Transfer learning: what was learned from much cheap text is reused where labels are scarce.",
            ),
            wrong(
                "To make labels for the test set.",
                "Labels of a test set come from people; a model's own would measure nothing.",
            ),
        ),
    ),
    "q05": Choice(
        "A model has read Wikipedia. Why tune it as a language model on film reviews before the classifier?",
        (
            wrong(
                "Because the reviews are longer than articles.",
                "Length is no obstacle: the state is carried from chunk to chunk.",
            ),
            wrong(
                "Because the classifier can only be trained once.",
                "It can be trained as often as one likes, but on labelled texts only.",
            ),
            right(
                "Because reviews have words, names and a tone that Wikipedia lacks, and this step needs no labels.",
                "Skipping it raises the paper's validation error on IMDb from 5.00 to 6.99 % (Howard & Ruder 2018, table 6).",
            ),
        ),
    ),
    "q06": Choice(
        "In which order do the stages of ULMFiT come?",
        (
            wrong(
                "Train the classifier, tune the language model, pretrain.",
                "Each stage starts from the weights of the one before: general text comes first.",
            ),
            right(
                "Language model on general text, the same model on the target text, classifier on its encoder.",
                "`pretrain_lm`, `finetune_lm`, `train_classifier`: from much general text to few labels.",
            ),
            wrong(
                "Language model on the target text, the same model on general text, classifier.",
                "The last thing it read would then be the text that matters least.",
            ),
        ),
    ),
    "q07": Choice(
        "IMDb comes with 50,000 reviews without label. What are they good for?",
        (
            right(
                "The language model is tuned on them.",
                "Its labels are the next words, so every review counts, labelled or not.",
            ),
            wrong(
                "Nothing: a classifier needs labels.",
                "Stage 3 does; stage 2 does not, and its encoder is what stage 3 starts from.",
            ),
            wrong(
                "They serve as a test set.",
                "Without labels nobody could say which answers are right.",
            ),
        ),
    ),
    "q08": Number(
        "IMDb has 25,000 labelled training reviews, 25,000 test reviews and 50,000 unlabelled ones. How many may the "
        "language model read if the test set is to stay unseen?",
        75_000,
        "Training and unlabelled reviews. Labels do not matter to a language model, but text that is tested on does.",
        (
            Usual(
                100_000,
                "That counts the test reviews. The published runs did so; it is a protocol of its own (transductive) "
                "and has to be reported as such.",
            ),
            Usual(25_000, "Unlabelled reviews can be read as well: the next word is the label."),
            Usual(50_000, "The training reviews are text too: their labels are simply not used."),
        ),
    ),
}
