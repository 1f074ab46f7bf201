"""Words, facts and small grammars' leaves: everything the corpus is made of, written for this project."""

FIRST_NAMES = """Ada Adam Agnes Aisha Akira Alba Alice Amara Amir Ana Andre Anita Anton Arun Asha Astrid Bela Ben Bianca
Boris Bruno Carla Carlos Cecil Chen Clara Colin Dana Daniel Daria David Diego Dora Edgar Elena Elias Elif Ella Emil
Emma Enzo Erik Esra Eva Fatima Felix Fiona Flora Frida Gabriel Gina Greta Hana Hans Hassan Helen Hugo Ida Igor Ines
Iris Ivan Jack James Jana Jasmin Jon Jonas Josef Julia Kai Karim Karl Kate Keiko Kenji Kira Klara Laila Lara Lars Laura
Lea Lena Leo Liam Lina Lisa Louis Lucia Luis Luka Lydia Maja Malik Marco Maria Marta Max Mei Mia Mika Milan Mina Mira
Mona Nadia Naomi Nils Nina Noah Nora Olga Oliver Omar Oscar Paula Pavel Pedro Petra Pia Priya Rafael Rahul Rania Rita
Robert Rosa Ruben Ruth Samira Sara Selma Silas Simon Sofia Sonja Stefan Suri Tara Tariq Theo Tim Tina Tom Uma Vera
Victor Viola Walter Wanda Yara Yuki Yusuf Zara Zoe Peter Paul Anna Bob Mark John Jane""".split()

LAST_NAMES = """Abe Adler Ali Bauer Berg Blanco Brown Chan Costa Cruz Dahl Diaz Evans Fischer Fox Garcia Gold Gray Green
Haas Hill Hughes Ito Jansen Jones Kaya Keller Khan Kim King Klein Kovac Lang Lee Lind Lopez Meyer Mori Moss Novak
Olsen Park Patel Perez Quinn Reed Rossi Roy Ruiz Sato Scott Shah Silva Singh Stone Tan Torres Vogel Wagner Ward Weber
West Wolf Wood Young Zhang""".split()

CITIES = """Oslo Paris Rome Madrid Lisbon Berlin Vienna Prague Dublin London Leeds Bristol Athens Cairo Lagos Nairobi
Accra Tunis Delhi Mumbai Kyoto Tokyo Osaka Seoul Hanoi Manila Jakarta Perth Sydney Lima Quito Bogota Santiago Havana
Boston Chicago Denver Dallas Austin Seattle Toronto Montreal Helsinki Bergen Malmo Gdansk Krakow Riga Vilnius Tallinn
Zagreb Split Graz Basel Geneva Lyon Nice Porto Seville Turin Naples Milan Hamburg Bremen Munich Ghent Utrecht""".split()

COMPANY_ENDS = "Labs Works Foods Media Systems Motors Energy Books Tools Design Health Trade Group Press Solar".split()
JOBS = """nurse baker teacher pilot engineer lawyer gardener painter farmer chef driver doctor writer plumber librarian
carpenter dentist tailor editor waiter singer mechanic architect clerk judge""".split()
PRODUCTS = """lamp chair table bottle jacket camera kettle pillow blanket mirror clock basket helmet guitar printer
keyboard backpack notebook umbrella toaster bicycle drill carpet wallet tent speaker heater fan sofa desk""".split()
COLOURS = "red blue green yellow black white brown grey orange purple pink silver".split()
MONTHS = "January February March April May June July August September October November December".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
TLDS = "com org net io de fr es eu info dev".split()

THINGS = """apples pears stamps coins books pencils marbles shells stickers eggs cards balls cookies oranges plums tickets
buttons photos candles lemons roses tulips beads bricks cups plates spoons nuts carrots potatoes tomatoes onions keys
feathers stones pins ribbons boxes badges toys""".split()
ANIMALS = """cat dog fox owl hen horse goat crow mouse rabbit duck goose frog bear wolf deer swan sheep cow donkey robin
otter badger hedgehog squirrel turtle""".split()
PLACES = """garden harbour market library kitchen forest station museum bakery school park valley village meadow bridge
tower workshop theatre square lighthouse mill orchard castle hospital office cellar barn""".split()
NOUNS = """lamp table river stone letter candle window ladder basket blanket hammer bottle mirror pencil jacket button
wagon kettle drum violin boat rope tent map clock bell coin ring box key book chair door shelf cup plate spoon bag hat
scarf shoe glove bicycle train engine wheel flag fence roof wall gate path hill lake island cloud storm star moon field
tree leaf flower seed apple bread cheese soup cake""".split()
WORDS = NOUNS + ANIMALS + COLOURS + PLACES + """water music summer winter paper silver copper garden simple gentle
bright quick calm honest lucky early late north south east west green happy quiet strong""".split()

# Subjects, qualities and claims for sentences to be summarised.
SUBJECT_ADJECTIVES = """Large Small Modern New Old Local Electric Public Young Smart Wild Fast Cheap Digital Portable Rural
Urban Heavy Simple Complex Early Custom Shared Private Foreign Open Remote Common""".split()
SUBJECT_FIRST = """city mountain school garden river battery weather village market harbour cotton forest music solar
paper window kitchen wind road sugar bread health data video image speech hotel farm glass water winter sports travel
machine storage traffic history picture delivery energy fruit book pocket bus ship""".split()
SUBJECT_SECOND = """models systems tools buses trains bridges libraries gardens sensors engines apps maps networks markets
teachers workers clubs reports databases projects schools lamps robots bicycles farms houses pipes forecasts cameras
phones games courses roads towers boats stations services filters""".split()
QUALITIES = """useful popular cheap powerful flexible fast helpful common reliable beautiful quiet safe strong clever light
small efficient valuable effective practical famous simple modern clean famous exciting""".split()
NEED_MODIFIERS = """careful regular constant proper good clear special early strict honest daily expert steady patient
close thorough""".split()
NEED_NOUNS = """testing planning cleaning training repair funding attention checking maintenance guidance cooling support
measurement control protection advice supervision lighting updates practice evaluation inspection storage""".split()
CLAIM_VERBS = """save reduce improve protect need use create support replace measure attract change connect produce store
carry cause collect share""".split()
CLAIM_OBJECTS = """energy money time water jobs noise waste traffic knowledge trust heat skills costs space food fuel trade
safety health rules data visitors light paper confidence soil tools risk effort stress""".split()
ASIDES = """which were built last year|which many people like|which come in several sizes|which were first seen in the
north|which are often painted green|which most visitors never notice|which the town bought in spring|which experts have
studied for years|which can be found almost everywhere|which started as a small idea""".replace("\n", " ").split("|")
REASONS = """because they are easy to install|because the old ones broke|as a recent study found|according to a new
report|according to the mayor|even in cold weather|in most parts of the country|during the long summer months|when they
are used with care|as many users have noticed|without much extra work|in spite of early doubts""".replace("\n", " ").split("|")
CHATTER = """Nobody was surprised.|The news spread quickly.|Some people had expected it.|It was a warm day.|A small crowd
came to watch.|The weather was fine.|More details will follow.|Coffee was served afterwards.|It had been discussed for
months.|Several neighbours wrote letters.|The meeting lasted two hours.|A photographer took pictures.""".replace("\n", " ").split("|")
EVENTS = """opened a new bakery|repaired the old bridge|won the chess cup|planted forty trees|sold the family boat|wrote a
book about bees|found a lost ring|started a music school|built a stone wall|painted the town hall|closed the small
cinema|bought a windmill|taught a class on maps|cleaned the river bank|founded a running club|baked a giant cake|saved a
young owl|designed a wooden toy|crossed the lake by canoe|collected old coins""".replace("\n", " ").split("|")

POSITIVE = """wonderful excellent great lovely superb delightful fantastic charming perfect pleasant amazing brilliant
friendly delicious helpful impressive beautiful enjoyable comfortable good""".split()
NEGATIVE = """terrible awful horrible boring dreadful disappointing poor ugly broken rude dirty useless annoying painful
slow cold noisy bland weak bad""".split()
REVIEWED = """film hotel meal book concert room service waiter phone soup camera trip museum coffee show game laptop
blanket tour story bed view song pizza garden train lamp chair jacket sauce staff website breakfast""".split()
TOPIC_SENTENCES = {
    "sports": ["The {a} team won the final by {n} goals.", "The runner broke the {c} record in {n} minutes.",
               "The coach praised the goalkeeper after the match in {c}.", "{N} scored {n} points in the basketball game.",
               "The tennis player from {c} lost the second set.", "{N} trains {n} hours a week for the race."],
    "food": ["Add {n} spoons of sugar and stir the dough.", "The soup in {c} was served with fresh bread.",
             "{N} baked a cake with {n} lemons.", "Roast the potatoes for {n} minutes with salt.",
             "The {a} restaurant in {c} serves grilled fish.", "{N} cooked rice with onions and pepper."],
    "weather": ["Heavy rain is expected in {c} for {n} days.", "It will be sunny with {n} degrees in {c}.",
                "A cold wind brought snow to {c}.", "{N} saw lightning and heard thunder over {c}.",
                "Fog covered {c} until noon.", "The storm near {c} lasted {n} hours."],
    "technology": ["The new phone has {n} cameras and a fast chip.", "{N} installed the software on {n} computers.",
                   "The {a} laptop runs a small language model.", "A bug in the program crashed {n} servers in {c}.",
                   "{N} wrote a program that sorts data.", "The company in {c} updated its website and its database."],
    "travel": ["The flight to {c} leaves at {n}.", "{N} booked a hotel in {c} for {n} nights.",
               "The train from {c} arrived {n} minutes late.", "{N} packed a suitcase and a passport.",
               "Tourists in {c} visit the {a} castle.", "The ferry to {c} was full of tourists."],
    "music": ["The singer gave {n} concerts in {c}.", "{N} plays the violin in an orchestra.",
              "The {a} band recorded {n} songs.", "{N} practised the piano for {n} hours.",
              "The choir in {c} sang an old melody.", "The drummer lost the rhythm in the {a} song."],
}
SPAM = ["Congratulations! You won {n}00 dollars, click now!", "Win a free {p} today, claim your prize at {d}!",
        "Cheap pills, {n}0 percent off, buy now at {d}!", "Urgent: send your password to {d} to get money!",
        "You are our lucky winner, {N}! Click {d} for your free {p}!", "Earn {n}000 dollars a week from home, act now!"]
HAM = ["Hi {N}, the meeting is moved to {n} o'clock.", "Could you send me the notes from {day}, {N}?",
       "The {p} you ordered was delivered on {day}.", "Thanks for lunch in {c}, {N}, see you on {day}.",
       "{N}, please bring the {p} when you come to {c}.", "Your appointment is on {day} at {n}."]

# English word, then (French, Spanish, German) with its article.
TRANSLATED_NOUNS = {
    "cat": ("le chat", "el gato", "die Katze"), "dog": ("le chien", "el perro", "der Hund"),
    "house": ("la maison", "la casa", "das Haus"), "book": ("le livre", "el libro", "das Buch"),
    "table": ("la table", "la mesa", "der Tisch"), "car": ("la voiture", "el coche", "das Auto"),
    "bread": ("le pain", "el pan", "das Brot"), "milk": ("le lait", "la leche", "die Milch"),
    "garden": ("le jardin", "el jardín", "der Garten"), "door": ("la porte", "la puerta", "die Tür"),
    "woman": ("la femme", "la mujer", "die Frau"), "boy": ("le garçon", "el chico", "der Junge"),
    "girl": ("la fille", "la chica", "das Mädchen"), "city": ("la ville", "la ciudad", "die Stadt"),
    "street": ("la rue", "la calle", "die Straße"), "flower": ("la fleur", "la flor", "die Blume"),
    "horse": ("le cheval", "el caballo", "das Pferd"), "bird": ("le moineau", "el pájaro", "der Vogel"),
    "lake": ("le lac", "el lago", "der See"), "moon": ("la lune", "la luna", "der Mond"),
    "sun": ("le soleil", "el sol", "die Sonne"), "train": ("le train", "el tren", "der Zug"),
    "chair": ("la chaise", "la silla", "der Stuhl"), "cheese": ("le fromage", "el queso", "der Käse"),
    "letter": ("la lettre", "la carta", "der Brief"), "key": ("la clé", "la llave", "der Schlüssel"),
    "bridge": ("le pont", "el puente", "die Brücke"), "forest": ("la forêt", "el bosque", "der Wald"),
    "king": ("le roi", "el rey", "der König"), "soup": ("la soupe", "la sopa", "die Suppe"),
}
# English, then French (m, f), Spanish (m, f), German (after 'ist' it never changes).
TRANSLATED_ADJECTIVES = {
    "big": ("grand grande", "grande grande", "groß"), "small": ("petit petite", "pequeño pequeña", "klein"),
    "black": ("noir noire", "negro negra", "schwarz"), "white": ("blanc blanche", "blanco blanca", "weiß"),
    "green": ("vert verte", "verde verde", "grün"), "new": ("nouveau nouvelle", "nuevo nueva", "neu"),
    "old": ("vieux vieille", "viejo vieja", "alt"), "beautiful": ("beau belle", "bonito bonita", "schön"),
    "good": ("bon bonne", "bueno buena", "gut"), "red": ("rouge rouge", "rojo roja", "rot"),
    "cold": ("froid froide", "frío fría", "kalt"), "strong": ("fort forte", "fuerte fuerte", "stark"),
}
# English, then third person singular; German objects need the accusative, which only 'der' changes (to 'den').
TRANSLATED_VERBS = {
    "sees": ("voit", "ve", "sieht"), "has": ("a", "tiene", "hat"), "buys": ("achète", "compra", "kauft"),
    "finds": ("trouve", "encuentra", "findet"), "takes": ("prend", "toma", "nimmt"),
    "sells": ("vend", "vende", "verkauft"), "loses": ("perd", "pierde", "verliert"),
    "draws": ("dessine", "dibuja", "zeichnet"), "wants": ("veut", "quiere", "will"),
    "knows": ("connaît", "conoce", "kennt"),
}

# A couplet rhymes; {x} is what the poem is about.
COUPLETS = """{X} wakes before the day,|and lights a lamp along the way.
I think of {x} when nights are long,|it hums to me a quiet song.
Oh {x}, small wonder, bright and near,|you make the heavy evening clear.
The wind may rise, the rain may fall,|but {x} stays kind above it all.
A child once asked what {x} can do,|it paints the morning gold and blue.
We carry {x} from door to door,|and always come to look for more.
Some call it plain, some call it art,|but {x} has settled in my heart.
Beneath the stars, across the sea,|a thought of {x} came home to me.
And when the clocks have lost their chime,|{x} keeps a gentle sort of time.
The world is wide, the road is steep,|yet {x} will guard us while we sleep.
In every corner, near and far,|{x} glimmers like a tiny star.
So here is {x}, and here am I,|two friends below a silver sky.
No map can show, no book can tell|how softly {x} will ring its bell.
With {x} beside us, step by step,|we keep the promise that we kept.
The old ones smile, the young ones stare,|for {x} is dancing in the air.
Let {x} be praised in simple rhyme,|a little light in winter time.""".split("\n")
POEM_SUBJECTS = NOUNS + ANIMALS + """rain snow spring autumn winter summer music bread friendship silence morning night hope
travel memory dreams numbers mathematics science school books mountains the_sea the_wind the_city home maps machines
computers robots light water time""".replace("_", " ").split()

# Facts: name -> (definition, facts that start with a verb or 'can', key benefits or None, steps or None).
TOPICS = {
    "photosynthesis": ("Photosynthesis is how plants make their own food from light, water and carbon dioxide", [
        "takes place in the green parts of plants", "uses the energy of sunlight", "needs water from the roots",
        "takes in carbon dioxide from the air", "produces sugar that feeds the plant", "releases oxygen that animals breathe"], None, [
        "the leaves catch sunlight with a green pigment called chlorophyll", "the roots bring water and the leaves take in carbon dioxide",
        "the energy of the light splits the water and releases oxygen", "the plant turns carbon dioxide into sugar"]),
    "renewable energy": ("Renewable energy is power from sources that do not run out, such as sun, wind and water", [
        "comes from sun, wind, water and heat of the earth", "cuts the greenhouse gases that warm the climate",
        "never uses up its source", "keeps the air clean", "creates local jobs", "makes a country less dependent on imported fuel"], [
        "it does not run out", "it cuts greenhouse gases", "it keeps the air clean", "it creates jobs"], None),
    "artificial intelligence": ("Artificial intelligence is software that does tasks that normally need human thinking", [
        "learns patterns from many examples", "can recognise pictures, speech and text", "can answer questions and make predictions",
        "can make mistakes, so people must check it", "powers search, translation and many apps", "does not think or feel like a person"], [
        "it saves time", "it finds patterns in data", "it can help doctors and teachers"], None),
    "machine learning": ("Machine learning is a way to build programs that learn rules from examples", [
        "needs data to learn from", "finds patterns without fixed rules", "is tested on examples it has not seen",
        "can sort mail, pictures and sounds", "gets better with better data"], ["it adapts to new data", "it finds hidden patterns", "it automates dull work"], [
        "people collect examples", "a model makes a guess for each example", "the error is measured", "the model is adjusted until the error is small"]),
    "caching": ("Caching is keeping a copy of data close by so that the next request is faster", [
        "stores copies of data that is used often", "makes repeated requests faster", "reduces the load on servers and databases",
        "saves network traffic", "must drop old copies when the data changes", "trades memory for speed"], [
        "it makes programs faster", "it saves network traffic", "it takes load off servers"], None),
    "indexing": ("Indexing is building a sorted list that tells a database where each value is stored", [
        "makes searching much faster", "avoids reading the whole table", "costs extra space on the disk",
        "slows down writing a little", "works like the index of a book"], ["it makes searches fast", "it avoids full scans"], None),
    "quantum computing": ("Quantum computing uses qubits, which can be in a mix of 0 and 1 at the same time", [
        "uses qubits in place of bits", "relies on superposition and entanglement", "may solve some hard problems faster",
        "needs very cold and quiet machines", "is still experimental"], None, None),
    "classical computing": ("Classical computing uses bits, each of which is either 0 or 1", [
        "stores data as bits", "works step by step with simple logic", "is cheap, reliable and everywhere",
        "runs phones, laptops and servers"], None, None),
    "technology": ("Technology is the use of knowledge to build tools that help people", [
        "connects people over long distances", "changes how we work and learn", "began with simple stone tools",
        "can solve problems and create new ones", "moves fast and never stands still"], ["it saves time", "it connects people", "it makes hard work easier"], None),
    "gravity": ("Gravity is the force that pulls things with mass towards each other", [
        "keeps us on the ground", "holds the moon near the earth", "makes things fall", "is stronger for heavier bodies",
        "gets weaker with distance"], None, None),
    "electricity": ("Electricity is the flow of tiny charged particles through a material", [
        "lights our homes", "flows well through metal", "is measured in volts and amperes", "can be stored in batteries",
        "is made in power stations"], ["it is easy to move", "it powers many machines", "it is clean where it is used"], None),
    "the water cycle": ("The water cycle is the way water moves between the sea, the air and the land", [
        "is driven by the sun", "brings rain and snow", "fills rivers and lakes", "never stops"], None, [
        "the sun warms the sea and water evaporates", "the vapour rises and forms clouds", "rain or snow falls on the land",
        "rivers carry the water back to the sea"]),
    "vaccination": ("Vaccination teaches the body to fight a germ before it meets it", [
        "trains the immune system", "prevents serious illness", "protects people nearby too", "has ended some diseases"], [
        "it prevents illness", "it protects the weak", "it saves money"], None),
    "recycling": ("Recycling turns used material into something new", [
        "saves raw materials", "reduces waste", "uses less energy than making things new", "works for glass, paper and metal"], [
        "it reduces waste", "it saves energy", "it protects nature"], [
        "people sort the used material", "trucks bring it to a plant", "machines clean and melt it", "factories make new things from it"]),
    "volcanoes": ("Volcanoes are openings in the ground from which hot melted rock comes out", [
        "release lava, ash and gas", "often stand where plates of the earth meet", "can sleep for centuries", "make the soil fertile"], None, [
        "melted rock gathers deep below", "pressure grows", "the rock breaks through the crust", "lava cools and forms a mountain"]),
    "the moon": ("The moon is a ball of rock that circles the earth in about a month", [
        "shines because it reflects sunlight", "causes the tides", "has no air", "always shows us the same side"], None, None),
    "the internet": ("The internet is a network that joins computers all over the world", [
        "sends data in small packets", "carries mail, pages and video", "has no single centre", "links billions of devices"], [
        "it spreads knowledge", "it connects people", "it is open day and night"], None),
    "databases": ("Databases are programs that store data in order so that it can be found again", [
        "keep data in tables", "answer questions about the data", "let many people work at once", "protect data from being lost"], [
        "they keep data in order", "they answer questions fast", "they protect data"], None),
    "encryption": ("Encryption turns a message into a secret form that only a key can open", [
        "keeps messages private", "uses mathematics and keys", "protects passwords and payments", "is useless if the key is stolen"], [
        "it keeps data private", "it protects payments"], None),
    "algorithms": ("Algorithms are clear lists of steps that solve a problem", [
        "work like a recipe", "can sort, search and count", "differ in speed", "are written down as programs"], None, None),
    "recursion": ("Recursion is when a function calls itself on a smaller problem", [
        "needs a case that stops it", "suits trees and nested lists", "can use much memory", "replaces a loop in some programs"], None, None),
    "batteries": ("Batteries store energy in chemicals and give it back as electricity", [
        "power phones and cars", "lose strength with age", "must be recycled with care", "are charged with a current"], [
        "they are portable", "they work without a cable"], None),
    "solar panels": ("Solar panels turn sunlight into electricity", [
        "work without moving parts", "make less power on cloudy days", "are often put on roofs", "last for many years"], [
        "they make clean power", "they need little care", "they lower the bill"], None),
    "wind turbines": ("Wind turbines turn the motion of the wind into electricity", [
        "have long blades", "stand where wind is strong", "need no fuel", "stop when the air is still"], [
        "they need no fuel", "they make clean power"], None),
    "bees": ("Bees are insects that collect nectar and carry pollen from flower to flower", [
        "make honey and wax", "live in large groups", "help fruit to grow", "dance to show where food is"], None, None),
    "sleep": ("Sleep is a time of rest in which the body and the brain recover", [
        "helps memory", "repairs the body", "comes in stages through the night", "is disturbed by bright light"], [
        "it helps memory", "it repairs the body", "it lifts the mood"], None),
    "exercise": ("Exercise is movement that keeps the body strong", [
        "makes the heart stronger", "improves mood and sleep", "keeps bones and muscles healthy", "works best when it is regular"], [
        "it makes the heart strong", "it improves mood", "it helps sleep"], None),
    "bread": ("Bread is a food made from flour, water, salt and often yeast", [
        "rises because yeast makes gas", "is baked in a hot oven", "is eaten all over the world", "goes stale after some days"], None, [
        "flour, water, salt and yeast are mixed", "the dough is kneaded", "the dough rests and rises", "the loaf is baked in a hot oven"]),
    "glaciers": ("Glaciers are slow rivers of ice", ["form from old snow", "carve valleys", "store fresh water", "melt when the climate warms"], None, None),
    "earthquakes": ("Earthquakes are sudden shakings of the ground", [
        "start when plates of rock slip", "are measured with sensors", "can damage houses and roads", "cannot be predicted exactly"], None, None),
    "trees": ("Trees are tall plants with a stem of wood", [
        "give shade and clean air", "store carbon in their wood", "are home to birds and insects", "add a ring every year"], [
        "they clean the air", "they give shade", "they give wood"], None),
    "libraries": ("Libraries are places that lend books and other media", [
        "lend books at no cost", "offer quiet places to study", "are open to everyone", "keep old texts safe"], [
        "they are open to everyone", "they lend books at no cost"], None),
    "public transport": ("Public transport carries many people together by bus, tram or train", [
        "reduces traffic and noise", "costs less than a car", "runs on a timetable", "needs good planning"], [
        "it reduces traffic", "it saves money", "it keeps the air clean"], None),
    "version control": ("Version control is a system that records every change of a set of files", [
        "shows who changed what", "lets people return to an older state", "helps teams to work together", "keeps branches apart"], [
        "it records every change", "it helps teams", "it makes mistakes easy to undo"], None),
    "testing": ("Testing is running a program on known cases to see whether it does what it should", [
        "finds mistakes early", "makes changes safer", "compares the result with what was expected", "cannot prove that no mistake is left"], [
        "it finds mistakes early", "it makes changes safe"], None),
    "compression": ("Compression stores the same data in less space", [
        "removes what repeats", "saves disk space", "makes transfers faster", "can lose detail in pictures and sound"], [
        "it saves space", "it makes transfers faster"], None),
    "memory": ("Memory is where a computer keeps the data it is working on", [
        "is faster than a disk", "is emptied when the power goes off", "is measured in bytes", "is shared by all programs"], None, None),
    "neural networks": ("Neural networks are models made of many small units that pass numbers on", [
        "learn by changing weights", "are arranged in layers", "need many examples", "can recognise pictures and speech"], None, [
        "numbers enter the first layer", "each unit adds them up with its weights", "the last layer gives an answer",
        "the weights are changed to make the error smaller"]),
    "benchmarks": ("Benchmarks are fixed tests that measure how well a system works", [
        "make systems comparable", "must be repeated to be trusted", "measure speed or quality", "can mislead when they are too easy"], [
        "they make systems comparable", "they show progress"], None),
    "rivers": ("Rivers are streams of water that flow to the sea or to a lake", [
        "begin at a spring", "carry sand and stones", "give water to farms and cities", "flood after heavy rain"], None, None),
    "tea": ("Tea is a drink made from leaves and hot water", ["is drunk all over the world", "contains caffeine", "grows in warm hills", "tastes of its leaves"], None, [
        "fresh water is boiled", "the leaves are put in a pot", "the water is poured over them", "the tea rests for some minutes"]),
    "language models": ("Language models are programs that predict the next word of a text", [
        "learn from large amounts of text", "can summarise, translate and answer", "can be wrong and sound sure", "read text as tokens"], [
        "they save time", "they answer in plain words"], [
        "the text is cut into tokens", "the model computes a score for every possible next token", "one token is chosen and added to the text",
        "this repeats until the answer is complete"]),
    "tokens": ("Tokens are the pieces of text that a language model reads and writes", [
        "are often parts of words", "are numbered in a vocabulary", "decide how long a prompt is", "are produced one after another"], None, None),
    "quantisation": ("Quantisation stores the weights of a model with fewer bits", [
        "makes model files smaller", "saves memory", "can make a model faster", "loses a little accuracy"], [
        "it saves memory", "it makes files smaller"], None),
    "latency": ("Latency is the time between a request and its answer", [
        "is measured in milliseconds", "grows when a system is busy", "matters most when a person waits", "should be reported with its spread"], None, None),
    "hash tables": ("Hash tables are tables that find a value by computing its place from a key", [
        "find a value in one step", "need a good hash function", "cost some extra memory", "do not keep the keys in order"], [
        "they are fast", "they are simple to use"], None),
    "rainbows": ("Rainbows are arcs of colour that appear when sunlight meets drops of water", [
        "show red outside and violet inside", "appear opposite the sun", "are seen after rain", "cannot be touched"], None, [
        "sunlight enters a drop of water", "the light is bent and split into colours", "it is reflected inside the drop", "the colours leave at different angles"]),
    "climate change": ("Climate change is a lasting change of the usual weather of the earth", [
        "is driven by greenhouse gases", "melts ice and raises the sea", "makes heat waves more common", "can be slowed by clean energy"], None, None),
    "inflation": ("Inflation is a general rise of prices over time", [
        "makes money buy less", "is measured with a basket of goods", "hurts people with savings", "is slowed by higher interest rates"], None, None),
    "cloud computing": ("Cloud computing is renting computers over the internet", [
        "needs a network connection", "can grow and shrink on demand", "saves buying machines", "keeps data in large halls of servers"], [
        "it grows on demand", "it saves buying machines"], None),
    "black holes": ("Black holes are places where gravity is so strong that not even light can escape", [
        "form when large stars collapse", "bend light around them", "cannot be seen directly", "can grow by pulling in gas"], None, None),
}
# (one, other, what one does, what the other does, what both share)
DIFFERENCES = [
    ("classical computing", "quantum computing", "uses bits that are 0 or 1", "uses qubits that can be a mix of both",
     "Classical computers are reliable and everywhere, while quantum computers are experimental and suit a few special problems"),
    ("cats", "dogs", "like to be alone and hunt at night", "live in groups and obey people", "Cats need little care, while dogs need walks"),
    ("trains", "buses", "run on rails and carry many people", "run on roads and stop often", "Trains are faster, while buses are more flexible"),
    ("tea", "coffee", "is made from leaves", "is made from roasted beans", "Tea is mild, while coffee is strong"),
    ("lakes", "rivers", "hold still water", "carry flowing water", "Lakes are deep, while rivers are long"),
    ("memory", "disks", "is fast and loses its data without power", "are slow and keep their data", "Memory is small, while disks are large"),
    ("solar power", "wind power", "works when the sun shines", "works when the wind blows", "Solar power suits roofs, while wind power suits coasts"),
    ("lists", "sets", "keep order and allow repeats", "have no order and no repeats", "Lists are read by position, while sets are asked for members"),
    ("summer", "winter", "is warm with long days", "is cold with short days", "Summer suits swimming, while winter suits skating"),
    ("novels", "poems", "tell a long story", "say much in a few lines", "Novels take days to read, while poems take minutes"),
    ("cities", "villages", "are large and busy", "are small and quiet", "Cities offer jobs, while villages offer space"),
    ("training", "inference", "changes the weights of a model", "uses the weights to answer", "Training is slow and rare, while inference is quick and frequent"),
    ("compilers", "interpreters", "translate a whole program first", "run a program line by line", "Compiled programs are fast, while interpreted ones are easy to change"),
    ("the sun", "the moon", "makes its own light", "reflects light", "The sun is a star, while the moon is a ball of rock"),
    ("metal", "wood", "conducts heat and electricity", "burns and floats", "Metal is strong, while wood is light"),
    ("weather", "climate", "is what happens today", "is the average of many years", "Weather changes fast, while climate changes slowly"),
]

# Code: what it does (for the prompt) -> (default name, parameter, body).
FUNCTIONS = {
    "computes the factorial of a number": ("factorial", "n", "result = 1\nfor i in range(2, n + 1):\n    result *= i\nreturn result"),
    "returns the sum of the numbers from 1 to n": ("sum_to", "n", "total = 0\nfor i in range(1, n + 1):\n    total += i\nreturn total"),
    "computes the n-th Fibonacci number": ("fibonacci", "n", "a, b = 0, 1\nfor _ in range(n):\n    a, b = b, a + b\nreturn a"),
    "checks whether a number is even": ("is_even", "n", "return n % 2 == 0"),
    "checks whether a number is odd": ("is_odd", "n", "return n % 2 == 1"),
    "checks whether a number is prime": ("is_prime", "n", "if n < 2:\n    return False\nfor i in range(2, n):\n    if n % i == 0:\n        return False\nreturn True"),
    "returns the largest number in a list": ("largest", "numbers", "best = numbers[0]\nfor x in numbers:\n    if x > best:\n        best = x\nreturn best"),
    "returns the smallest number in a list": ("smallest", "numbers", "best = numbers[0]\nfor x in numbers:\n    if x < best:\n        best = x\nreturn best"),
    "returns the sum of a list": ("total", "numbers", "result = 0\nfor x in numbers:\n    result += x\nreturn result"),
    "returns the product of a list": ("product", "numbers", "result = 1\nfor x in numbers:\n    result *= x\nreturn result"),
    "returns the mean of a list": ("mean", "numbers", "return sum(numbers) / len(numbers)"),
    "reverses a string": ("reverse", "text", "return text[::-1]"),
    "checks whether a string is a palindrome": ("is_palindrome", "text", "return text == text[::-1]"),
    "counts the vowels in a string": ("count_vowels", "text", "count = 0\nfor c in text:\n    if c in \"aeiou\":\n        count += 1\nreturn count"),
    "counts the words in a string": ("count_words", "text", "return len(text.split())"),
    "returns the square of a number": ("square", "x", "return x * x"),
    "returns the cube of a number": ("cube", "x", "return x * x * x"),
    "returns the absolute value of a number": ("absolute", "x", "if x < 0:\n    return -x\nreturn x"),
    "returns the first item of a list": ("first", "items", "return items[0]"),
    "returns the last item of a list": ("last", "items", "return items[-1]"),
    "computes the greatest common divisor of a and b": ("gcd", "a, b", "while b:\n    a, b = b, a % b\nreturn a"),
    "computes a to the power of n": ("power", "a, n", "result = 1\nfor _ in range(n):\n    result *= a\nreturn result"),
    "returns the larger of two numbers": ("larger", "a, b", "if a > b:\n    return a\nreturn b"),
    "removes repeated items from a list": ("unique", "items", "seen = []\nfor x in items:\n    if x not in seen:\n        seen.append(x)\nreturn seen"),
}
