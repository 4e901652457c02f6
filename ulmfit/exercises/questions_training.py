"""Questions about embeddings, perplexity and the way a classifier is trained."""

from __future__ import annotations

from ulmfit.exercises.question import Choice, Number, Question, Usual, right, wrong

TRAINING: dict[str, Question] = {
    "q24": Choice(
        "A vocabulary has 60,000 tokens, an embedding 400 numbers. Which shape has the embedding matrix?",
        (
            wrong(
                "64 x 72",
                "That is the shape of a batch of ids, with which rows are looked up.",
            ),
            right(
                "60,000 x 400",
                "A row for each token of the vocabulary. The decoder of the language model uses the same matrix.",
            ),
            wrong(
                "60,000 x 60,000",
                "That would be one-hot vectors: no two words would be alike.",
            ),
            wrong(
                "400 x 1,152",
                "These are the sizes of the first LSTM layer's input and state.",
            ),
        ),
    ),
    "q25": Choice(
        "Pretrained weights enter a corpus with words they have never seen. Which rows do these words get?",
        (
            wrong(
                "Random ones.",
                "It is often said so. The code of fastai takes the mean row, and so does `transplant` here.",
            ),
            wrong(
                "Zeros.",
                "Zero is a place like any other, and no typical word's.",
            ),
            right(
                "The mean of all old rows.",
                "A word in the middle of the cloud: nothing special yet, and training moves it from there.",
            ),
        ),
    ),
    "q26": Number(
        "The old vocabulary has the rows film = [2, 0], plot = [4, 2], joy = [0, 10]. The new one is film, joy, dull. "
        "What is the *second* number in the row of dull?",
        4,
        "dull is new, so it gets the mean of all three old rows: (0 + 2 + 10) / 3.",
        (
            Usual(5, "That is the mean of film and joy. Dropped words (plot) are averaged too."),
            Usual(0, "New words do not get zeros, and not the row of film."),
            Usual(10, "joy stands third in the old vocabulary; rows follow words, not places."),
            Usual(3, "That is the mean of all numbers of the table: each column has its own."),
        ),
    ),
    "q27": Choice(
        "What is perplexity?",
        (
            wrong(
                "The share of next words that were foreseen.",
                "That is accuracy, which looks only at the likeliest word.",
            ),
            wrong(
                "The cross-entropy, divided by the size of the vocabulary.",
                "The vocabulary is not in it; still, only perplexities over the same tokens can be compared.",
            ),
            right(
                "exp of the cross-entropy.",
                "Among how many equally likely words the model seems to choose at each place.",
            ),
        ),
    ),
    "q28": Number(
        "The validation loss of a language model is 4.0. What is its perplexity, to one decimal?",
        54.6,
        "exp(4.0): the loss is in natural logarithms.",
        (
            Usual(16, "That is 2 to the power of 4; the loss is in natural logarithms."),
            Usual(4, "That is the cross-entropy itself: take exp."),
        ),
        tolerance=0.05,
    ),
    "q29": Number(
        "A batch of 1,000 tokens has mean loss 4.0, the last one of 10 tokens has 8.0. What is the perplexity of all "
        "1,010 tokens, to one decimal?",
        56.8,
        "exp((1000 * 4 + 10 * 8) / 1010): tokens are averaged, and exp is taken last.",
        (
            Usual(403.4, "exp(6) counts the last ten tokens as much as the thousand before."),
            Usual(1517.8, "That averages perplexities, unweighted: average losses, over tokens."),
            Usual(83.6, "That averages perplexities by tokens: take exp of the mean loss instead."),
            Usual(54.6, "That leaves the last batch out."),
        ),
        tolerance=0.05,
    ),
    "q30": Number(
        "A model knows nothing and gives each of its 60,000 tokens the same probability. What is its perplexity?",
        60_000,
        "The loss is -log(1 / 60000) at every place, and exp of that is 60,000: it chooses among all of them.",
        (
            Usual(1, "That is a model that foresees every word with certainty."),
            Usual(11, "That is about the cross-entropy, log(60000): take exp."),
        ),
    ),
    "q31": Choice(
        "Why is the vocabulary of the language model passed to the classifier's data?",
        (
            wrong(
                "So that the sizes match.",
                "That is not enough: another vocabulary of the same size would load without an error and mean nothing.",
            ),
            right(
                "Row i of the embedding belongs to word i; with another order every word would get another's meaning.",
                "Size is no proof: fastai's `load_encoder` compares shapes only. Here vocabularies are compared by content.",
            ),
            wrong(
                "To save the time of building one.",
                "It does, but a fast wrong vocabulary would still be wrong.",
            ),
        ),
    ),
    "q32": Choice(
        "What is gradual unfreezing?",
        (
            wrong(
                "Making the learning rate smaller from epoch to epoch.",
                "That is a schedule of rates; here it is about *which* layers learn.",
            ),
            wrong(
                "Training layer after layer, each alone.",
                "That is chain-thaw. Here a layer group that has been unfrozen goes on learning.",
            ),
            right(
                "The head learns first; then one layer group more joins in at a time, from the top down.",
                "Errors of the fresh head would otherwise wash out what the lower layers know.",
            ),
        ),
    ),
    "q33": Number(
        "A classifier has five layer groups. The top one learns at 0.01, and each lower one at the rate above it divided "
        "by 2.6. At which rate does the lowest learn, to six decimals?",
        0.000219,
        "0.01 / 2.6 ** 4: four steps lead from the fifth group down to the first.",
        (
            Usual(0.000084, "One division too many: the top group learns at 0.01 itself."),
            Usual(0.000962, "That is 0.01 / (2.6 * 4): divide four times in a row."),
            Usual(0.003846, "That is the rate of the group below the top."),
        ),
        tolerance=0.0000005,
    ),
    "q34": Choice(
        "Why will generating text probably stay ahead of recognising generated text?",
        (
            wrong(
                "Because generators have larger vocabularies.",
                "A detector may use the same vocabulary, even the same model.",
            ),
            right(
                "Because any good detector can be used to train a generator that it does not recognise.",
                "The detector's judgement is a loss to be made small, and so each advance in detecting helps generating.",
            ),
            wrong(
                "Because nobody works on recognising it.",
                "Many do; the other side can use what they find.",
            ),
        ),
    ),
}
