"""What is said: such lines as a stream has. English ones hold nothing that two listeners spell in
two ways (names, slang)."""

from __future__ import annotations

from koed.text.greeting import greeting

LINES = {
    "en": (
        "Good evening, everyone, and welcome back to the stream.",
        "We still have twenty minutes before the next match begins.",
        "Thank you so much for the gift, that is very kind of you.",
        "I have no idea where this door leads, but we are going in.",
        "Could somebody please tell me what I was supposed to do here?",
        "That was close! One more hit and the whole run would be over.",
        "Let me read the last question again, because I missed half of it.",
        "Today we are going to build a small house beside the river.",
        "If you can hear the music but not my voice, please say so in chat.",
        "The boss has only a little health left, so stay calm and wait.",
        "My sister called this morning and asked when I would come home.",
        "It is 2026, and I am still playing the same old game.",
        "Nobody told me that the bridge was going to fall down.",
        "Give me a second, I need to drink some water first.",
        "We reached five hundred followers this week, can you believe it?",
        "Turn left at the old tower, then follow the road through the forest.",
        "I would rather lose with a good story than win without one.",
        "Why does this happen every single time I open a box?",
        "The weather outside is cold, so I made myself a cup of tea.",
        "Please be nice to each other, we are all here to have fun.",
        "Right now the score is three to two, and there is plenty of time.",
        "He was looking for a key, and it was in his pocket all along.",
        "Next week we start a longer project, and you may choose the first part.",
        "I heard a strange noise behind the wall. Did you hear that too?",
        "That is all for tonight. Sleep well, and see you on Friday.",
    ),
    "ja": (
        "こんばんは、今日も配信に来てくれてありがとうございます。",
        "次の試合まで、あと二十分くらいあります。",
        "初めて来た人も、どうぞゆっくりしていってください。",
        "この扉の先に何があるのか、まったくわかりません。",
        "ちょっと待って、今の見ましたか？",
        "危なかった！もう少しで最初からやり直しでした。",
        "コメントを読むのが遅くてごめんなさい。",
        "今日は川のそばに小さな家を建てます。",
        "音楽の音量は大丈夫ですか。声は聞こえていますか。",
        "落ち着いて、相手の動きをよく見ましょう。",
        "今朝、妹から電話がかかってきました。",
        "二〇二六年になっても、同じゲームで遊んでいます。",
        "橋が落ちるなんて、誰も教えてくれませんでした。",
        "少しだけ水を飲ませてください。",
        "登録者が五百人になりました。本当にうれしいです。",
        "古い塔を左に曲がって、森の道を進んでください。",
        "勝つことよりも、楽しむことのほうが大切だと思います。",
        "どうして箱を開けるたびにこうなるんでしょう。",
        "外は寒いので、温かいお茶をいれました。",
        "みんなで仲良く遊びましょうね。",
        "今は三対二で、時間はまだたくさんあります。",
        "探していた鍵は、ずっとポケットの中にありました。",
        "来週から新しい企画を始めますので、お楽しみに。",
        "壁の向こうから変な音が聞こえませんでしたか。",
        "今日はここまでです。おやすみなさい、また金曜日に。",
    ),
    "zh": (
        "大家晚上好，欢迎来到今天的直播。",
        "离下一场比赛还有二十分钟。",
        "谢谢你的礼物，你真是太好了。",
        "我不知道这扇门后面有什么，我们进去看看吧。",
        "等一下，你们刚才看到了吗？",
        "好险！差一点就要从头再来了。",
        "对不起，我刚才没有看到你的问题。",
        "今天我们要在河边盖一座小房子。",
        "音乐会不会太大声？你们听得到我说话吗？",
        "别着急，先看清楚他怎么走。",
        "今天早上我妹妹给我打了一个电话。",
        "已经二〇二六年了，我还在玩这个老游戏。",
        "没有人告诉我这座桥会塌下来。",
        "让我先喝一口水，马上回来。",
        "这个星期我们有五百个关注了，真不敢相信。",
        "在旧塔那里左转，然后沿着森林里的路走。",
        "输赢不重要，开心才最重要。",
        "为什么我每次打开箱子都会这样？",
        "外面很冷，所以我给自己泡了一杯热茶。",
        "请大家友好一点，我们都是来玩的。",
        "现在比分是三比二，时间还很多。",
        "他一直在找钥匙，原来就在口袋里。",
        "下星期我们要开始一个新的故事，请期待。",
        "墙后面有奇怪的声音，你们也听到了吗？",
        "今天就到这里，晚安，星期五再见。",
    ),
}


def lines(lang: str, count: int) -> list[str]:
    """``count`` texts in a language, from the first on again where there are fewer. Raises
    `KoedError` ``no_text`` for a language in which koed knows none."""
    known = LINES.get(lang.split("-")[0]) or (greeting(lang),)
    return [known[n % len(known)] for n in range(count)]
