"""langchain-openai against the server at PICOLM_URL."""

import os

from langchain_openai import ChatOpenAI, OpenAIEmbeddings

about = dict(base_url=os.environ["PICOLM_URL"] + "/v1", api_key=os.environ.get("PICOLM_KEY", "none"), model=os.environ["PICOLM_NAME"])
model = ChatOpenAI(**about, temperature=0, max_tokens=12, stream_usage=True)
question = [("system", "Be brief."), ("human", "What is the capital of France?")]
whole = model.invoke(question)
assert whole.content and whole.usage_metadata["output_tokens"] <= 12, whole
assert "".join(part.content for part in model.stream(question)) == whole.content
vectors = OpenAIEmbeddings(**about, check_embedding_ctx_length=False).embed_documents(["one", "two"])
assert len(vectors) == 2 and len(vectors[0]) == len(vectors[1])
print("# pass 1\n# fail 0")
